"""Let what a version asks for hold what its containers may do beyond the default.

The tables stay as they are; but an older release would not know what it reads in the column
``versions.spec``, and refuses this database now instead.
"""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply it."""
