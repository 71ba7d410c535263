"""Keep why a version was collected and what becomes of its image, and what deleted ones leave."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Apply it."""
    op.add_column(
        "versions",
        sa.Column("collected", sa.Text(), comment="Only while the wish is to collect it."),
    )
    op.create_table(
        "left_images",
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("backend", "reference", name=op.f("pk_left_images")),
        comment="Of versions that were deleted; until the backend has let go of them.",
    )
