"""The lease by which one of several controllers leads: compare and swap on the database's clock."""

import secrets
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, Row, insert, literal_column, select, update

from longshore.core.errors import Deposed
from longshore.core.lease import CONTROLLER, Lease
from longshore.plugins.sql_registry.tables import leases

# Not the time at which a transaction began: it may have waited for its lock since.
_NOW = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}


def take(
    sql: Connection, name: str, holder: str, *, address: str, seconds: float, force: bool
) -> Lease:
    """Take the lease if it is free or one's own; return it as it is now."""
    now = _now(sql)
    row = _row(sql, name)
    mine = row is not None and row.holder == holder
    if row and not mine and not force and row.expires_at > now:
        return _lease(row, now)
    values = {"holder": holder, "address": address, "expires_at": now + seconds}
    if not mine:
        values |= {"token": secrets.token_urlsafe(32), "epoch": row.epoch + 1 if row else 1}
    if row:
        sql.execute(update(leases).where(leases.c.name == name).values(values))
    else:
        sql.execute(insert(leases).values(name=name, **values))
    return read(sql, name)


def release(sql: Connection, name: str, holder: str) -> None:
    """Let the lease end now, if it is this holder's."""
    mine = (leases.c.name == name, leases.c.holder == holder)
    sql.execute(update(leases).where(*mine).values(expires_at=0, address=""))


def read(sql: Connection, name: str) -> Lease:
    """Return the lease as it is now."""
    row = _row(sql, name)
    return _lease(row, _now(sql)) if row else Lease(holder="")


def check(sql: Connection, epoch: int | None) -> None:
    """Let pass whoever leads, or needs no lease.

    Raises:
        Deposed: the lease is in another epoch.
    """
    if epoch is None:
        return
    row = _row(sql, CONTROLLER)
    if row is None or row.epoch != epoch:
        raise Deposed("another process leads by now; what this one found was not written")


def _row(sql: Connection, name: str) -> Row[Any] | None:
    return sql.execute(select(leases).where(leases.c.name == name)).one_or_none()


def _lease(row: Row[Any], now: float) -> Lease:
    return Lease(
        holder=row.holder,
        address=row.address,
        token=SecretStr(row.token),
        epoch=row.epoch,
        expires_in=row.expires_at - now,
    )


def _now(sql: Connection) -> float:
    return float(sql.execute(select(literal_column(_NOW[sql.dialect.name]))).scalar_one())
