"""Counting in shared memory: every worker sees all requests, and changes only its own."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.replica import Replica as Server

from longshore.router.workers.counts import CONNECTIONS, CountedReplica, Counts

ENDPOINT = Server().endpoint
WORKERS = 3


@pytest.fixture
def views() -> Iterator[list[Counts]]:
    """The same memory, as several processes would map it."""
    first, fd = Counts.create(WORKERS)
    yield [first, *(Counts(fd, WORKERS) for _ in range(WORKERS - 1))]
    os.close(fd)


def replicas(views: list[Counts], row: int) -> list[CountedReplica]:
    return [CountedReplica(ENDPOINT, each.row(row), column) for column, each in enumerate(views)]


@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.booleans()), max_size=60))
def test_all_see_the_same_whoever_took_and_gave_back(steps: list[tuple[int, bool]]) -> None:
    counts, fd = Counts.create(WORKERS)
    seen = replicas([counts, *(Counts(fd, WORKERS) for _ in range(WORKERS - 1))], 5)
    os.close(fd)
    mine = [0] * WORKERS
    for worker, takes in steps:
        if takes:
            seen[worker].in_flight += 1
            mine[worker] += 1
        elif mine[worker]:
            seen[worker].released()
            mine[worker] -= 1
        assert {each.in_flight for each in seen} == {sum(mine)}
        assert list(counts.row(5)) == mine


def test_a_replica_that_is_made_anew_begins_with_what_the_others_have(views: list[Counts]) -> None:
    one, other, _ = replicas(views, 1)
    one.in_flight += 1
    assert other.in_flight == 1
    assert CountedReplica(ENDPOINT, views[2].row(1), 2).in_flight == 1


def test_a_worker_that_ended_takes_its_own_counts_along(views: list[Counts]) -> None:
    one, other, _ = replicas(views, 7)
    one.in_flight += 1
    other.in_flight += 1
    views[2].row(CONNECTIONS)[0] = 4
    views[2].clear(0, rows=8)
    assert other.in_flight == 1
    assert list(views[1].row(CONNECTIONS)) == [-1, -1, -1]
    assert views[0].total(7) == 1
