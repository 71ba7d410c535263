"""Keep who leads, and count the changes of what routers read."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False, comment="What the holder's colleagues show."),
        sa.Column(
            "epoch", sa.BigInteger(), nullable=False, comment="Grows with each change of holder."
        ),
        sa.Column(
            "expires_at",
            sa.Double(),
            nullable=False,
            comment="By the database's clock, since 1970.",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.add_column(
        "installation",
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="Grows with each change of what routers read.",
        ),
    )
