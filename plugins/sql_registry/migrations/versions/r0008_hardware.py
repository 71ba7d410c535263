"""Let versions say which hardware they wish for, and hold a plan of all that was decided.

No GPU was asked for where ``resources.gpu`` says 0, which means from now on that none may be given;
so what nobody said is left out. An older release would not know what it reads, and refuses this
database.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply it."""
    versions = sa.table("versions", sa.column("id", sa.BigInteger), sa.column("spec", sa.Text))
    connection = op.get_bind()
    for row in connection.execute(sa.select(versions.c.id, versions.c.spec)).all():
        spec = json.loads(row.spec)
        if (spec.get("resources") or {}).get("gpu") == 0:
            spec["resources"]["gpu"] = None
            text = json.dumps(spec, separators=(",", ":"), ensure_ascii=False)
            changed = versions.update().where(versions.c.id == row.id).values(spec=text)
            connection.execute(changed)
