"""What threads by the CPU limit gain: ``python -m bench.threads``."""
