"""Let versions be kept warm at times of the week.

No table changes: a version's settings are JSON, and what an earlier release stored has no such
times. But earlier releases cannot read what this one stores, and the revision makes them say so.
"""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Apply it."""
