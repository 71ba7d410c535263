"""Let versions be collected and pinned, and have a retention time of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply it."""
    op.add_column(
        "versions", sa.Column("pinned", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
