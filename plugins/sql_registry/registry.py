"""The registry's methods, one transaction each."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from longshore.core import traffic
from longshore.core.lease import Lease
from longshore.core.measures import Measured
from longshore.core.names import VersionKey
from longshore.core.protocols import Registry
from longshore.core.types import (
    Collected,
    Decision,
    Event,
    HardwarePlan,
    LeftImage,
    Load,
    Model,
    TrafficRule,
    Version,
    VersionRecord,
    VersionStatus,
    Wake,
    Wish,
    utc_now,
)
from longshore.plugins.sql_registry import calls, leases, measures, rows, wakes
from longshore.plugins.sql_registry import collected as collected_rows
from longshore.plugins.sql_registry import loads as load_rows
from longshore.plugins.sql_registry import tables as t
from longshore.plugins.sql_registry.bounds import keep_newest
from longshore.plugins.sql_registry.database import Database, reads, writes
from longshore.plugins.sql_registry.difference import conflict
from longshore.plugins.sql_registry.kept import KeptVersions

DECISIONS_KEPT = 200
"""Per version."""
EVENTS_KEPT = 10_000


class SqlRegistry(Registry):
    """Longshore's memory in SQLite or PostgreSQL; ``core.protocols.Registry`` has the promises.

    Args:
        url: SQLAlchemy URL.

    Raises:
        StartRefused: the URL cannot be used, or the database's driver is missing.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._kept = KeptVersions()

    async def open(self) -> None:
        """Make or upgrade the tables."""
        await self.database.prepare()

    async def close(self) -> None:
        """Let go of the database."""
        await self.database.close()

    @reads
    def installation(self, sql: Connection) -> str:
        """Return the id that was made with the database."""
        made: str = sql.execute(select(t.installation.c.id)).scalar_one()
        return made

    @writes
    def add_version(self, sql: Connection, version: Version, decisions: Sequence[Decision]) -> bool:
        """Store a version, unless its number is taken."""
        key, placement = version.key, version.placement
        stored = sql.execute(rows.select_versions().where(*rows.of_key(key))).one_or_none()
        if stored:
            return self._same(sql, rows.record(stored).version, version)
        if sql.scalar(select(t.models.c.name).where(t.models.c.name == key.name)) is None:
            model = {"name": key.name, "traffic": TrafficRule(), "created_at": version.created_at}
            sql.execute(insert(t.models).values(model))
        version_id: int = sql.execute(
            insert(t.versions)
            .values(
                model=key.name,
                version=key.version,
                digest=version.image.digest,
                spec=version.spec,
                image=version.image,
                serving=version.serving,
                created_at=version.created_at,
                wish=Wish.RUN,
                status=VersionStatus(),
            )
            .returning(t.versions.c.id)
        ).scalar_one()
        sql.execute(
            insert(t.placements).values(
                version_id=version_id,
                backend=placement.backend,
                nodes=placement.nodes,
                plan=placement.plan,
            )
        )
        load_rows.begin(sql, version_id)
        _add_decisions(sql, version_id, decisions)
        _routers_must_read(sql)
        return True

    @staticmethod
    def _same(sql: Connection, stored: Version, new: Version) -> bool:
        if stored.content == new.content:
            return False
        same_model = t.versions.c.model == new.key.name
        taken = sql.scalars(select(t.versions.c.version).where(same_model)).all()
        raise conflict(stored, new, taken)

    @writes
    def delete_version(self, sql: Connection, key: VersionKey) -> bool:
        """Delete the version's rows, take it out of the traffic rule, and end an empty model."""
        found = sql.execute(rows.select_versions().where(*rows.of_key(key))).one_or_none()
        if not (found and sql.execute(delete(t.versions).where(*rows.of_key(key))).rowcount):
            return False
        collected_rows.leave(sql, rows.record(found).version)
        _routers_must_read(sql)
        this_model = t.models.c.name == key.name
        others = select(t.versions.c.id).where(t.versions.c.model == key.name).limit(1)
        if sql.scalar(others) is None:
            sql.execute(delete(t.models).where(this_model))
            return True
        rule: TrafficRule = sql.execute(select(t.models.c.traffic).where(this_model)).scalar_one()
        if key.version in traffic.versions_in(rule):
            rule = traffic.without(rule, key.version)
            sql.execute(update(t.models).where(this_model).values(traffic=rule))
        return True

    @reads
    def model(self, sql: Connection, name: str) -> Model:
        """Return the model of that name."""
        found = sql.execute(rows.select_versions().where(t.versions.c.model == name)).all()
        if not found:
            raise rows.no_model(sql, name)
        return rows.as_models((row, rows.record(row)) for row in found)[0]

    @reads
    def models(self, sql: Connection) -> Sequence[Model]:
        """Return everything, by one query."""
        return self._kept.models(sql)

    @reads
    def version(self, sql: Connection, key: VersionKey) -> VersionRecord:
        """Return the version of that number."""
        found = sql.execute(rows.select_versions().where(*rows.of_key(key))).one_or_none()
        if not found:
            raise rows.no_version(sql, key)
        return rows.record(found)

    @writes
    def set_traffic(self, sql: Connection, name: str, rule: TrafficRule) -> None:
        """Replace the rule, if the model has each version in it."""
        known = set(sql.scalars(select(t.versions.c.version).where(t.versions.c.model == name)))
        if not known:
            raise rows.no_model(sql, name)
        for version in traffic.versions_in(rule):
            if version not in known:
                raise rows.no_version(sql, VersionKey(name, version))
        sql.execute(update(t.models).where(t.models.c.name == name).values(traffic=rule))
        _routers_must_read(sql)

    @writes
    def set_wish(
        self,
        sql: Connection,
        key: VersionKey,
        wish: Wish,
        reason: str,
        at: datetime | None = None,
    ) -> None:
        """Write the wish alone, and in the ledger who is woken, or is to be so no more."""
        id_ = rows.version_id(sql, key)
        if id_ is None:
            raise rows.no_version(sql, key)
        # Of two at once that wish the same, the second changes nothing.
        another = t.versions.c.id == id_, t.versions.c.wish != wish
        change = update(t.versions).where(*another).values(wish=wish, collected=None)
        if not sql.execute(change).rowcount:
            return
        _routers_must_read(sql)
        if wish is Wish.RUN:
            wakes.begin(sql, id_, at or utc_now(), reason)
        else:
            wakes.break_off(sql, id_, utc_now(), reason)

    @writes
    def collect(self, sql: Connection, key: VersionKey, collected: Collected) -> None:
        """Write the wish, and why."""
        collected_rows.begin(sql, key, collected)
        id_ = rows.version_id(sql, key)
        if id_ is not None:
            wakes.break_off(sql, id_, utc_now(), collected.why)
        _routers_must_read(sql)

    @writes
    def keep_collected(self, sql: Connection, collected: Mapping[VersionKey, Collected]) -> None:
        """Overwrite what is kept, and no wish."""
        if collected:
            collected_rows.keep(sql, collected)
            _routers_must_read(sql)

    @reads
    def left_images(self, sql: Connection) -> Sequence[LeftImage]:
        """Return what deleted versions left."""
        return collected_rows.left(sql)

    @writes
    def forget_image(self, sql: Connection, image: LeftImage) -> None:
        """Delete one row."""
        collected_rows.forget(sql, image)

    @writes
    def save_status(
        self,
        sql: Connection,
        statuses: Mapping[VersionKey, VersionStatus],
        *,
        epoch: int | None = None,
    ) -> None:
        """Write the statuses alone, and what became of the woken."""
        if not statuses:
            return
        leases.check(sql, epoch)
        if _told_to_callers(sql, statuses):
            _routers_must_read(sql)
        sql.execute(
            update(t.versions).where(*rows.this_version()).values(status=bindparam("new_status")),
            [rows.named(key) | {"new_status": status} for key, status in statuses.items()],
        )
        wakes.end(sql, statuses)

    @writes
    def save_loads(self, sql: Connection, loads: Sequence[Load]) -> None:
        """Overwrite the loads; each version got its row when it was registered."""
        load_rows.save(sql, loads)

    @writes
    def add_calls(
        self, sql: Connection, slots: Mapping[VersionKey, datetime], since: datetime
    ) -> None:
        """Keep in which slots versions were called."""
        calls.add(sql, slots, since)

    @reads
    def calls(self, sql: Connection, since: datetime) -> Mapping[VersionKey, Sequence[datetime]]:
        """Return in which slots each version was called."""
        return calls.read(sql, since)

    @writes
    def add_measures(self, sql: Connection, found: Sequence[Measured]) -> None:
        """Keep what was measured."""
        measures.add(sql, found)

    @reads
    def measures(self, sql: Connection, digest: str | None = None) -> Sequence[Measured]:
        """Return what was measured."""
        return measures.read(sql, digest)

    @writes
    def save_plan(
        self, sql: Connection, version: Version, plan: HardwarePlan, *, asleep: bool
    ) -> bool:
        """Replace the plan alone, which routers do not read."""
        return measures.save_plan(sql, version, plan, asleep=asleep)

    @reads
    def loads(self, sql: Connection) -> Mapping[VersionKey, Load]:
        """Return the loads that were saved."""
        return load_rows.read(sql)

    @writes
    def add_decisions(
        self, sql: Connection, key: VersionKey, decisions: Sequence[Decision]
    ) -> None:
        """Keep the decisions; those about a version that is gone are passed over."""
        version_id = rows.version_id(sql, key)
        if version_id is not None:
            _add_decisions(sql, version_id, decisions)

    @reads
    def decisions(self, sql: Connection, key: VersionKey) -> Sequence[Decision]:
        """Return them in the order in which they were kept; none of a version that is gone."""
        of_version = select(t.decisions.c.decision).join(t.versions).where(*rows.of_key(key))
        return sql.scalars(of_version.order_by(t.decisions.c.id)).all()

    @writes
    def add_events(self, sql: Connection, events: Sequence[Event]) -> None:
        """Keep events."""
        if events:
            sql.execute(
                insert(t.events),
                [
                    {
                        "kind": event.kind,
                        "model": event.key.name,
                        "version": event.key.version,
                        "message": event.message,
                        "at": event.at,
                    }
                    for event in events
                ],
            )
            keep_newest(sql, t.events, EVENTS_KEPT)

    @reads
    def events(
        self, sql: Connection, key: VersionKey | None = None, limit: int = 100
    ) -> Sequence[Event]:
        """Return the newest events."""
        newest = select(t.events).order_by(t.events.c.id.desc()).limit(limit)
        if key:
            newest = newest.where(t.events.c.model == key.name, t.events.c.version == key.version)
        found = [
            Event(
                kind=row.kind,
                key=VersionKey(row.model, row.version),
                message=row.message,
                at=row.at,
            )
            for row in sql.execute(newest)
        ]
        return found[::-1]

    @reads
    def last_wakes(self, sql: Connection) -> Mapping[VersionKey, datetime]:
        """Return the newest line of each version in the ledger."""
        return wakes.last(sql)

    @writes
    def set_pinned(self, sql: Connection, key: VersionKey, *, pinned: bool) -> None:
        """Write the pin alone."""
        changed = update(t.versions).where(*rows.of_key(key)).values(pinned=pinned)
        if not sql.execute(changed).rowcount:
            raise rows.no_version(sql, key)

    @reads
    def wakes(self, sql: Connection, key: VersionKey, limit: int = 100) -> Sequence[Wake]:
        """Return the newest lines of the ledger; none of a version that is gone."""
        return wakes.read(sql, key, limit)

    @reads
    def wake_times(
        self, sql: Connection, since: datetime | None = None, limit: int = 100
    ) -> Mapping[VersionKey, Mapping[datetime, float]]:
        """Return how long each wake took; none of a version that is gone."""
        return wakes.times(sql, since, limit)

    @reads
    def open_wakes(self, sql: Connection) -> Mapping[VersionKey, Wake]:
        """Return the lines of the ledger that are open, by an index that has no others."""
        return wakes.under_way(sql)

    @writes
    def save_wakes(self, sql: Connection, lines: Sequence[Wake]) -> None:
        """Write lines of the ledger, but for their ends."""
        for wake in lines:
            wakes.save(sql, wake)

    @writes
    def take_lease(
        self,
        sql: Connection,
        name: str,
        holder: str,
        *,
        address: str,
        seconds: float,
        force: bool = False,
    ) -> Lease:
        """Take or renew it, unless another has it."""
        return leases.take(sql, name, holder, address=address, seconds=seconds, force=force)

    @writes
    def release_lease(self, sql: Connection, name: str, holder: str) -> None:
        """End it now."""
        leases.release(sql, name, holder)

    @reads
    def lease(self, sql: Connection, name: str) -> Lease:
        """Return it; one that nobody ever had is free."""
        return leases.read(sql, name)

    @reads
    def revision(self, sql: Connection) -> int:
        """Return the counter."""
        return int(sql.execute(select(t.installation.c.revision)).scalar_one())


def _routers_must_read(sql: Connection) -> None:
    sql.execute(update(t.installation).values(revision=t.installation.c.revision + 1))


def _told_to_callers(sql: Connection, statuses: Mapping[VersionKey, VersionStatus]) -> bool:
    """Return whether new statuses tell callers something else than those that are stored."""
    columns = t.versions.c.model, t.versions.c.version, t.versions.c.status
    names = {key.name for key in statuses}
    for row in sql.execute(select(*columns).where(t.versions.c.model.in_(names))):
        new = statuses.get(VersionKey(row.model, row.version))
        old: VersionStatus = row.status
        if new and _told(new) != _told(old):
            return True
    return False


def _told(status: VersionStatus) -> tuple[object, ...]:
    return status.state, status.reason, status.hint, status.retry_at


def _add_decisions(sql: Connection, version_id: int, decisions: Sequence[Decision]) -> None:
    if decisions:
        values = [{"version_id": version_id, "decision": decision} for decision in decisions]
        sql.execute(insert(t.decisions), values)
        of_version = t.decisions.c.version_id == version_id
        keep_newest(sql, t.decisions, DECISIONS_KEPT, of_version)
