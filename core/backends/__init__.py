"""What backends have in common: hints of changes, log lines, and why things fail."""
