"""Let traffic rules be sticky and have a shadow.

No table changes: a rule is JSON, and one that an earlier release stored has neither. But earlier
releases cannot read what this one stores, and the revision makes them say so.
"""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply it."""
