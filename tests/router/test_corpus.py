"""The corpus of raw requests, over real sockets: by the fast lane, the long way, and nginx."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from parts import nginx
from parts.corpus import CASES, DIFFERENCES, ONE, Case, Outcome
from parts.replica import Replica, echo
from parts.routed import Routed

TARGETS = {
    "predict": b"/v1/models/iris/predict",
    "raw": b"/v1/models/iris/versions/1/raw/predict",
}

WAITS = -1
"""Stands for an answer that did not come."""

PROBE = b"POST %T HTTP/1.1\r\nHost: localhost\r\nX-Probe: yes\r\nContent-Length: 5\r\n\r\nhello"


async def play(port: int, replica: Replica, case: Case, target: bytes, mark: str = "") -> Outcome:
    """Send a case, and tell what became of it.

    Whether the connection is still there, and in step, shows in a request that is sent behind.

    Args:
        port: whom to send it to.
        replica: sees what is passed on.
        case: what to send.
        target: stands in it for ``%T``.
        mark: ends the targets of this case alone, where an earlier one may still be under way.
    """
    target += mark.encode()
    before, answers = len(replica.requests), len(case.outcome.statuses)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    statuses: list[int] = []
    try:
        writer.write(case.raw.replace(b"%T", target))
        async with asyncio.timeout(10):
            while len(statuses) < answers and (status := await read_status(reader)):
                statuses.append(status)
            with suppress(ConnectionError):
                writer.write(PROBE.replace(b"%T", target))
                await writer.drain()
            with suppress(ConnectionError):
                while status := await read_status(reader):
                    statuses.append(status)
                    if len(statuses) > answers:
                        break
    except TimeoutError:
        statuses.append(WAITS)
    finally:
        writer.close()
    seen = [
        (each.method, each.target.removesuffix(mark), each.body)
        for each in replica.requests[before:]
        if mark in each.target
    ]
    goes_on = len(statuses) == answers + 1 and seen[-1:] == [ONE]
    if goes_on:
        statuses, seen = statuses[:-1], seen[:-1]
    return Outcome(tuple(statuses), not goes_on, tuple(seen))


async def read_status(reader: asyncio.StreamReader) -> int:
    """Read an answer, and return its status; 0 where the connection ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return 0
    lines = head.lower().split(b"\r\n")
    length = next((each for each in lines if each.startswith(b"content-length:")), b":0")
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(lines[0].split()[1])


@pytest.mark.parametrize("way", TARGETS)
async def test_what_becomes_of_a_request(router: Routed, way: str) -> None:
    replica = await router.serving(echo)
    wrong = []
    for case in CASES:
        outcome = await play(router.port, replica, case, TARGETS[way])
        if outcome != case.outcome:
            wrong.append((case.name, outcome))
    assert not wrong, "\n".join(f"{name}: {outcome}" for name, outcome in wrong)


@pytest.mark.skipif(nginx.PATH is None, reason="nginx is not installed")
async def test_nginx_agrees_but_where_we_know_why_not(tmp_path: Path) -> None:
    wrong = []
    async with Replica(echo).running() as replica, nginx.running(tmp_path, replica.port) as port:
        for number, case in enumerate(CASES):
            ours = case.outcome.statuses[0]
            outcome = await play(port, replica, case, b"/predict", f"?{number}.")
            theirs = ([*outcome.statuses, 0])[0]
            if theirs not in {ours, DIFFERENCES.get(case.name, (ours, ""))[0]}:
                wrong.append(f"{case.name}: we say {ours}, nginx {theirs}")
            elif case.name not in DIFFERENCES and outcome != case.outcome:
                wrong.append(f"{case.name}: {case.outcome} here, with nginx {outcome}")
    assert not wrong, "\n".join(wrong)


def test_each_difference_is_one_of_a_case() -> None:
    ours = {case.name: case.outcome.statuses[0] for case in CASES}
    assert len(ours) == len(CASES), "names are unique"
    assert all(ours[name] != theirs for name, (theirs, _) in DIFFERENCES.items())
