"""Other proxies to compare with, each as one would write it."""
