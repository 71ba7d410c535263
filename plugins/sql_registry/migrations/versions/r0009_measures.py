"""Remember what versions were measured to use, and let hardware plans tell it.

Plans are JSON: what an earlier release stored has nothing of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "measures",
        sa.Column("digest", sa.Text(), nullable=False, comment="Of the image."),
        sa.Column(
            "settings", sa.Text(), nullable=False, comment="A digest over those that matter."
        ),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False, comment="Of the last version that ran so."),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("memory_mib", sa.BigInteger()),
        sa.Column("memory_unread", sa.Text(), nullable=False),
        sa.Column("gpu_memory_mib", sa.BigInteger()),
        sa.Column("gpu_memory_unread", sa.Text(), nullable=False),
        sa.Column("readings", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", "settings", name=op.f("pk_measures")),
        comment="What was measured of images; it outlives the versions.",
    )
    op.create_index(op.f("ix_measures_last_at"), "measures", ["last_at"])
