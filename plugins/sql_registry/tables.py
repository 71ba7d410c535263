"""The tables. What is queried is a column, what only travels through is JSON.

After a change here, write the migration: ``python -m longshore.plugins.sql_registry.migrate
"what changes"``.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    and_,
    false,
    text,
)

from longshore.core.types import (
    Collected,
    Decision,
    HardwarePlan,
    Image,
    RankedNode,
    Resources,
    Serving,
    TrafficRule,
    VersionSpec,
    VersionStatus,
)
from longshore.plugins.sql_registry.columns import Json, Moment, Words

# Constraints need names, or a later migration cannot take them away.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


# SQLite counts up by itself only what is called INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _of_version(*, primary_key: bool = False) -> Column[int]:
    """Return the column of rows that go when their version goes."""
    version = ForeignKey("versions.id", ondelete="CASCADE")
    return Column("version_id", _Id, version, primary_key=primary_key, nullable=False)


installation = Table(
    "installation",
    metadata,
    Column("id", Words, primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="Grows with each change of what routers read.",
    ),
    comment="One row, made with the database.",
)

leases = Table(
    "leases",
    metadata,
    Column("name", Words, primary_key=True),
    Column("holder", Words, nullable=False),
    Column("address", Words, nullable=False),
    Column("token", Words, nullable=False, comment="What the holder's colleagues show."),
    Column("epoch", BigInteger, nullable=False, comment="Grows with each change of holder."),
    Column("expires_at", Double, nullable=False, comment="By the database's clock, since 1970."),
)

models = Table(
    "models",
    metadata,
    Column("name", Words, primary_key=True),
    Column("traffic", Json(TrafficRule), nullable=False),
    Column("created_at", Moment, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", _Id, primary_key=True, comment="Grows in the order of registration."),
    Column("model", Words, ForeignKey("models.name"), nullable=False),
    Column("version", Words, nullable=False),
    Column("digest", Words, nullable=False, comment="Of the image."),
    Column("spec", Json(VersionSpec), nullable=False),
    Column("image", Json(Image), nullable=False),
    Column("serving", Json(Serving), nullable=False),
    Column("created_at", Moment, nullable=False),
    # Written by users and policies, and by the controller; no statement writes both.
    Column("wish", Words, nullable=False),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("collected", Json(Collected), comment="Only while the wish is to collect it."),
    Column("status", Json(VersionStatus), nullable=False),
    UniqueConstraint("model", "version"),
)
Index(None, versions.c.digest)

placements = Table(
    "placements",
    metadata,
    _of_version(primary_key=True),
    Column("backend", Words, nullable=False),
    Column("nodes", Json(tuple[RankedNode, ...]), nullable=False),
    Column("plan", Json(HardwarePlan), nullable=False),
)

left_images = Table(
    "left_images",
    metadata,
    Column("backend", Words, primary_key=True),
    Column("reference", Words, primary_key=True),
    comment="Of versions that were deleted; until the backend has let go of them.",
)

loads = Table(
    "loads",
    metadata,
    _of_version(primary_key=True),
    Column("saved_at", Moment, comment="Empty until a router told of the version."),
    Column("in_flight", Integer, nullable=False),
    Column("held", Integer, nullable=False),
    Column("rate", Double, nullable=False),
    Column("last_request_at", Moment),
    Column("last_answer_at", Moment),
)

calls = Table(
    "calls",
    metadata,
    _of_version(primary_key=True),
    Column("slot", Moment, primary_key=True),
    comment="Some minutes in which a version was called, by their beginning.",
)

measures = Table(
    "measures",
    metadata,
    Column("digest", Words, primary_key=True, comment="Of the image."),
    Column("settings", Words, primary_key=True, comment="A digest over those that matter."),
    Column("resources", Json(Resources), nullable=False),
    Column("model", Words, nullable=False, comment="Of the last version that ran so."),
    Column("version", Words, nullable=False),
    Column("memory_mib", BigInteger),
    Column("memory_unread", Words, nullable=False),
    Column("gpu_memory_mib", BigInteger),
    Column("gpu_memory_unread", Words, nullable=False),
    Column("readings", BigInteger, nullable=False),
    Column("since", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    comment="What was measured of images; it outlives the versions.",
)
Index(None, measures.c.last_at)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _Id, primary_key=True),
    _of_version(),
    Column("decision", Json(Decision), nullable=False),
)
Index(None, decisions.c.version_id, decisions.c.id)

wakes = Table(
    "wakes",
    metadata,
    Column("id", _Id, primary_key=True),
    _of_version(),
    Column("asked_at", Moment, nullable=False),
    Column("applied_at", Moment),
    Column("scheduled_at", Moment),
    Column("image_at", Moment),
    Column("started_at", Moment),
    Column("ready_at", Moment),
    Column("ended_at", Moment, comment="When it failed or was broken off."),
    Column("failed", Boolean, nullable=False, server_default=false()),
    Column("why_ended", Words, nullable=False, server_default=text("''")),
    Column("first_byte_at", Moment),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("longest_hold", Double, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    Column("reason", Words, nullable=False),
)
open_wakes = and_(wakes.c.ready_at.is_(None), wakes.c.ended_at.is_(None))
"""The condition by which a wake is under way."""
Index(None, wakes.c.version_id, wakes.c.id)
# Of a version, only the newest may be open.
Index(
    "ix_wakes_open",
    wakes.c.version_id,
    unique=True,
    sqlite_where=open_wakes,
    postgresql_where=open_wakes,
)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("version", Words, nullable=False),
    Column("message", Words, nullable=False),
    Column("at", Moment, nullable=False),
    comment="Outlives the versions that it tells of.",
)
Index(None, events.c.model, events.c.version, events.c.id)
