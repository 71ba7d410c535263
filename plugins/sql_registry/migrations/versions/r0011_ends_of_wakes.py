"""Give wakes that failed or were broken off an end of their own.

Earlier releases left them open until the version's next readiness, and then took all that were open
for ready. A wake whose successor was asked for before it was ready had been broken off.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

OPEN = sa.text("ready_at IS NULL AND ended_at IS NULL")

NOT_NOTED = "an earlier release did not note why"

OVERTAKEN = """
UPDATE wakes
SET ready_at = NULL, why_ended = :why, ended_at = (
    SELECT min(later.asked_at) FROM wakes AS later
    WHERE later.version_id = wakes.version_id AND later.id > wakes.id
)
WHERE EXISTS (
    SELECT 1 FROM wakes AS later
    WHERE later.version_id = wakes.version_id AND later.id > wakes.id
    AND (wakes.ready_at IS NULL OR later.asked_at < wakes.ready_at)
)
"""

# Its end came some time later.
NOT_TO_RUN = """
UPDATE wakes SET ended_at = asked_at, why_ended = :why
WHERE ready_at IS NULL AND ended_at IS NULL
AND version_id IN (SELECT id FROM versions WHERE wish <> 'run')
"""


def upgrade() -> None:
    """Apply it."""
    op.add_column(
        "wakes",
        sa.Column(
            "ended_at", sa.DateTime(timezone=True), comment="When it failed or was broken off."
        ),
    )
    op.add_column(
        "wakes", sa.Column("failed", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "wakes", sa.Column("why_ended", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    for ended in (OVERTAKEN, NOT_TO_RUN):
        op.execute(sa.text(ended).bindparams(why=NOT_NOTED))
    op.drop_index("ix_wakes_open", table_name="wakes")
    op.create_index(
        "ix_wakes_open",
        "wakes",
        ["version_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
