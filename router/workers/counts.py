"""Requests in flight on each replica, counted over all workers in memory that they share.

The memory is a table of numbers: a row for each replica, a column for each worker process. A worker
writes its own column and no other, so that no cell has two writers and nothing needs a lock;
whoever wants to know how busy a replica is adds its row up. What is guaranteed: a replica with a
limit of so many requests never has more than that and one for each further worker, for a worker
looks and counts in one go, and only what the others do within these microseconds escapes it.
"""

import mmap
import os
from typing import Literal, Self

from longshore.core.types import Endpoint
from longshore.router.routed import Replica

ROWS = 1 << 16
"""How many replicas can be counted; a row takes memory only once it is used."""

CONNECTIONS = 0
"""The row that holds how many clients each worker is connected to; -1 where it accepts none."""

_CELL: Literal["i"] = "i"
_CELL_BYTES = 4


class Counts:
    """The shared table.

    Args:
        fd: of the memory; it may be closed afterwards.
        columns: how many worker processes there can be at once.
    """

    def __init__(self, fd: int, columns: int) -> None:
        self.columns = columns
        memory = mmap.mmap(fd, ROWS * columns * _CELL_BYTES)
        self._cells: memoryview[int] = memoryview(memory).cast(_CELL)

    @classmethod
    def create(cls, columns: int) -> tuple[Self, int]:
        """Make a new one; return it and the memory's file descriptor, which is the caller's."""
        fd = os.memfd_create("longshore-counts", os.MFD_CLOEXEC)
        os.ftruncate(fd, ROWS * columns * _CELL_BYTES)
        counts = cls(fd, columns)
        counts.row(CONNECTIONS)[:] = memoryview(bytes(b"\xff" * _CELL_BYTES * columns)).cast(_CELL)
        return counts, fd

    def row(self, row: int) -> "memoryview[int]":
        """Return the cells of a row, one for each column."""
        return self._cells[row * self.columns : (row + 1) * self.columns]

    def total(self, row: int) -> int:
        """Return the sum of a row."""
        return sum(self.row(row))

    def clear(self, column: int, rows: int) -> None:
        """Forget a worker that ended: none of its requests is in flight any more.

        Args:
            column: the worker's.
            rows: how many rows were ever used.
        """
        for row in range(1, rows):
            self._cells[row * self.columns + column] = 0
        self.row(CONNECTIONS)[column] = -1


class CountedReplica(Replica):
    """A replica whose requests in flight are those of all workers.

    It is used like any other: ``in_flight`` is read, added to and taken from. The other workers'
    part is remembered at each reading, so that what is written back changes this worker's own.

    Args:
        endpoint: the replica.
        row: its cells.
        column: this worker's.
    """

    __slots__ = ("_cells", "_column", "_mine", "_others")

    def __init__(self, endpoint: Endpoint, row: "memoryview[int]", column: int) -> None:
        self._cells = row
        self._column = column
        self._mine = self._others = 0
        super().__init__(endpoint)

    @property
    def in_flight(self) -> int:
        """How many requests all workers have on it now."""
        total = sum(self._cells)
        self._others = total - self._mine
        return total

    @in_flight.setter
    def in_flight(self, total: int) -> None:
        self._mine = total - self._others
        self._cells[self._column] = self._mine
