"""A router and the leader: when it reports for the first time."""

from aiohttp import web
from aiohttp.test_utils import TestServer
from parts.routed import Routed

from longshore.core.lease import Lease
from longshore.core.reports import Report, Reports
from longshore.router.internal import LOADS
from longshore.router.reporting import Reporter


class Leader:
    """Takes reports as the leader does."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.address = ""

    async def take(self, request: web.Request) -> web.Response:
        reply = self.reports.take(Report.model_validate_json(await request.read()))
        return web.Response(text=reply.model_dump_json(), content_type="application/json")

    def leader(self) -> Lease:
        return Lease(holder="leader", epoch=1, address=self.address)


async def test_the_leader_knows_of_a_router_before_it_has_routes(router: Routed) -> None:
    leader = Leader(Reports(router.table))
    await leader.reports.drain(["r1"], 0)
    app = web.Application()
    app.router.add_post(LOADS, leader.take)
    async with TestServer(app) as server:
        leader.address = f"{server.host}:{server.port}"
        own = Reports(router.table)
        reporter = Reporter(
            own, leader, "a router", applied=dict, kick=lambda: None, wants_sums=False
        )
        async with reporter.running():
            assert leader.reports.live() == ["a router"]
            assert own.retiring().keys() == {"r1"}


async def test_a_leader_that_is_away_keeps_nobody_from_serving(router: Routed) -> None:
    nobody = Leader(Reports(router.table))
    nobody.address = "127.0.0.1:1"
    own = Reports(router.table)
    reporter = Reporter(own, nobody, "a router", applied=dict, kick=lambda: None, wants_sums=False)
    async with reporter.running():
        assert own.retiring() == {}
