"""The bound on tables that grow with time: the newest rows stay."""

from sqlalchemy import ColumnElement, Connection, Table, delete, select


def keep_newest(sql: Connection, table: Table, kept: int, *among: ColumnElement[bool]) -> None:
    """Forget the oldest rows beyond a number.

    Args:
        sql: the transaction.
        table: has an ``id`` that grows.
        kept: how many stay.
        among: conditions of the rows that are counted; all of them, if left out.
    """
    newest_out = select(table.c.id).where(*among).order_by(table.c.id.desc()).offset(kept).limit(1)
    sql.execute(delete(table).where(*among, table.c.id <= newest_out.scalar_subquery()))
