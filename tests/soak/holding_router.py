"""A router in a process of its own, whose version sleeps and wakes when a line says so."""

import asyncio
import json
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from parts.census import census
from parts.replica import Replica
from parts.routed import model_route, route, routed

from longshore.core.types import State


async def main(backend: int, concurrency: int, most: int) -> None:
    with TemporaryDirectory() as state:
        async with routed(Path(state), hold_requests=most, max_connections=20_000) as router:
            awake = route(Replica(port=backend), limits={"concurrency": concurrency})
            asleep = awake.model_copy(
                update={
                    "endpoints": (),
                    "state": State.ASLEEP,
                    "coming": True,
                    "wake_seconds": 30.0,
                }
            )
            await router.table.update(model_route(asleep))
            print(router.port, flush=True)
            while said := await asyncio.to_thread(sys.stdin.readline):
                if said.strip():
                    told = {"wake": awake, "sleep": asleep}[said.strip()]
                    await router.table.update(model_route(told))
                held = {"held": router.table.holding.requests, "bytes": router.table.holding.bytes}
                print(json.dumps({**json.loads(census()), **held}), flush=True)


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*(int(each) for each in sys.argv[1:4])))
