"""What the scaling makes of traces of load: ``python -m bench.scaling``."""
