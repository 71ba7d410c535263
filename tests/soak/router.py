"""A router in a process of its own, which counts what it holds for every line that it is sent."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from parts.census import census
from parts.replica import Replica
from parts.routed import model_route, route, routed


async def main(backend: int) -> None:
    with tempfile.TemporaryDirectory() as state:
        async with routed(Path(state)) as router:
            replica = Replica(port=backend)
            await router.table.update(model_route(route(replica, limits={"concurrency": 10_000})))
            print(router.port, flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                in_flight = router.table.load(route().version.key).in_flight
                print(json.dumps({**json.loads(census()), "in_flight": in_flight}), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1])))
