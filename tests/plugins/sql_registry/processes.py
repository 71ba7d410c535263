"""What the tests run in processes of their own: ``processes.py WHAT URL [ARGUMENT...]``.

Each says ``ready``, waits for a line, and then does it, so that several do it at once.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import examples_of
from sqlalchemy import Engine, event

from longshore.core.errors import Conflict, StartRefused
from longshore.core.lease import CONTROLLER
from longshore.core.types import Decision
from longshore.plugins.sql_registry.registry import SqlRegistry


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def wait_for_the_word() -> None:
    say("ready")
    sys.stdin.readline()


async def open_database(url: str) -> None:
    """Open the database, and print the id of the installation."""
    registry = SqlRegistry(url)
    wait_for_the_word()
    await registry.open()
    say(await registry.installation())
    await registry.close()


async def register(url: str, most: str) -> None:
    """Register iris:1 with ``scaling.max``, and print what came of it."""
    registry = SqlRegistry(url)
    await registry.open()
    wait_for_the_word()
    try:
        added = await registry.add_version(examples_of.version(scaling={"max": int(most)}), [])
        say("added" if added else "the same")
    except Conflict:
        say("conflict")
    await registry.close()


async def lead(url: str, holder: str) -> None:
    """Try to lead, and print who does, and in which epoch."""
    registry = SqlRegistry(url)
    await registry.open()
    wait_for_the_word()
    lease = await registry.take_lease(CONTROLLER, holder, address="", seconds=60)
    say(f"{lease.holder} {lease.epoch}")
    await registry.close()


async def die(url: str, after: str) -> None:
    """Register iris:1, and be killed right after a statement, or before the commit."""
    registry = SqlRegistry(url)
    await registry.open()
    wait_for_the_word()

    @event.listens_for(Engine, "after_cursor_execute")
    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(after):
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Engine, "commit")
    def about_to_commit(_: Any) -> None:
        if after == "everything":
            os.kill(os.getpid(), signal.SIGKILL)

    decision = Decision(hook="longshore_score_node", plugin="spreading", outcome=50)
    await registry.add_version(examples_of.version(), [decision])
    say("done")
    await registry.close()


async def open_unprivileged(url: str) -> None:
    """Become nobody, then open the database, and print the refusal."""
    registry = SqlRegistry(url)
    if os.geteuid() == 0:
        os.setuid(65534)
    wait_for_the_word()
    try:
        await registry.open()
        say("opened")
    except StartRefused as refused:
        say(refused.message)
        say(refused.hint)
    await registry.close()


WHAT: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "open": open_database,
    "open unprivileged": open_unprivileged,
    "register": register,
    "die": die,
    "lead": lead,
}

if __name__ == "__main__":
    asyncio.run(WHAT[sys.argv[1]](*sys.argv[2:]))
