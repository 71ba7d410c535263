"""A router on real sockets, a version that answers, and one that gets copies of its requests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from parts.replica import Behaviour, Exchange, Replica, echo
from parts.routed import Routed, model_route, route, until

from longshore.core.names import VersionKey
from longshore.core.types import Shadow, TrafficRule
from longshore.router.meter import Meter

PREDICT = "/v1/models/iris/predict"
SHADOW = VersionKey("iris", "2")


@dataclass
class Pair:
    """A router, a version that answers and one that gets copies."""

    router: Routed
    primary: Replica
    shadow: Replica

    @property
    def meter(self) -> Meter:
        """What was counted of the copies."""
        meter = self.router.table.version("iris", "2").shadow_meter
        assert meter, "nothing was ever to be copied"
        return meter

    async def became(self, what: str, times: int = 1) -> None:
        """Wait until so many copies became this, and check that all of them came to an end."""
        assert await until(lambda: self.meter.copies[what] >= times, 20), self.meter.copies
        assert self.meter.copies[what] == times
        assert self.meter.in_flight == self.meter.held == 0
        assert self.router.table.load(SHADOW).in_flight == 0


Make = Callable[..., Awaitable[Pair]]


async def shadowed(
    router: Routed,
    behave: Behaviour = echo,
    primary: Behaviour = echo,
    limits: Mapping[str, float] | None = None,
) -> Pair:
    """Route iris to version 1, and copies of all requests to version 2."""
    first, second = await router.replica(primary), await router.replica(behave)
    rule = TrafficRule(weights={"1": 1}, shadow=Shadow(version="2"))
    await router.table.update(
        model_route(route(first), route(second, number="2", limits=limits), rule=rule)
    )
    return Pair(router, first, second)


async def never(exchange: Exchange) -> None:
    """Read all and answer nothing."""
    await exchange.read_body()
    await exchange.until_left()


async def answers_at_once(both: Pair, body: bytes = b"[1]") -> None:
    """Check that callers are answered while the shadow is as it is."""
    async with asyncio.timeout(20):
        for _ in range(3):
            answer = await both.router.predict(body)
            assert (answer.status_code, answer.content == body) == (200, True)
