"""Days on which a cluster, or what is around it, fails; docs/operators.md tells what they showed.

.venv/bin/python -m pytest -rP tests/system/bad_days tests/system/test_autoscaling.py
"""
