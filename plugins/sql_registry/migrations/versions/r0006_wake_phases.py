"""Keep the phases of each wake, and what was held during it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

MOMENT = sa.DateTime(timezone=True)
PHASES = ("applied_at", "scheduled_at", "image_at", "started_at", "first_byte_at")


def upgrade() -> None:
    """Apply it."""
    for phase in PHASES:
        op.add_column("wakes", sa.Column(phase, MOMENT))
    op.add_column("wakes", sa.Column("held", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "wakes", sa.Column("longest_hold", sa.Double(), nullable=False, server_default="0")
    )
    op.add_column("wakes", sa.Column("lost", sa.Integer(), nullable=False, server_default="0"))
