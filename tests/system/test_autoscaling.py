"""A HorizontalPodAutoscaler that goes by what Longshore's routers observe."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from engine_cli import EngineCli
from parts.aggregated import (
    GROUP,
    certificate,
    free_port,
    own_address,
    serve_no_more,
    serve_through,
)
from parts.kubectl import Kubectl
from parts.platform import Up, on_cluster, until
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import seconds_until, tell

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def metrics_port() -> int:
    return free_port(own_address())


@pytest.fixture
def autoscaled_up(
    tmp_path: Path, engine_cli: EngineCli, kubectl: Kubectl, metrics_port: int
) -> Iterator[Up]:
    """A platform whose metrics the cluster's API server passes on."""
    if kubectl.run("get", "apiservice", f"v1beta1.{GROUP}", "--ignore-not-found"):
        pytest.skip("the cluster's external metrics are served by somebody else")
    host = own_address()
    made, key = certificate(tmp_path, kubectl.namespace)
    on_cluster(
        tmp_path,
        kubectl.namespace,
        scale_down_after=20,
        metrics_host=host,
        metrics_port=metrics_port,
        metrics_certificate=str(made),
        metrics_key=str(key),
    )
    up = Up(tmp_path, engine_cli)
    try:
        serve_through(kubectl, host, metrics_port, made)
        up.start()
        yield up
    finally:
        up.clean_up()
        serve_no_more(kubectl)


def replicas(kubectl: Kubectl) -> int:
    """Return how many pods the one Deployment should have."""
    [deployment] = kubectl.get("deployments")["items"]
    number: int = deployment["spec"]["replicas"]
    return number


async def hold(url: str, requests: int, over: asyncio.Event) -> None:
    """Keep so many requests in flight."""

    async def one(client: httpx.AsyncClient) -> None:
        while not over.is_set():
            answer = await client.get(f"{url}/v1/models/behave/versions/1/raw/slow?seconds=1")
            assert answer.status_code == 200, answer.text

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=30, limits=limits) as client:
        await asyncio.gather(*(one(client) for _ in range(requests)))


@pytest.mark.timeout(400)
def test_no_request_fails_while_replicas_double_and_go_again(
    autoscaled_up: Up, behave: str, kubectl: Kubectl, ledger: Ledger
) -> None:
    up = autoscaled_up
    options = ("--min", "2", "--max", "4", "--target", "2", "--env", ledger.option)
    up.run("register", "behave", "1", behave, *options)
    assert until(lambda: kubectl.names("horizontalpodautoscalers"), within=60)
    assert until(lambda: not up.status()["reason"] and up.status()["ready"] == 2)

    def grown() -> bool:
        return replicas(kubectl) == 4 and up.status()["ready"] == 4

    async def doubled() -> float:
        over = asyncio.Event()
        holding = asyncio.create_task(hold(up.url, 8, over))
        try:
            return await asyncio.to_thread(seconds_until, grown, 120)
        finally:
            over.set()
            await holding

    with steady_load(up.url, ledger) as load:
        took = asyncio.run(doubled())
        gone = seconds_until(lambda: replicas(kubectl) == 2, 150)
        assert until(lambda: up.status()["replicas"] == 2)
        # The pods that go answer until their drain is over.
        time.sleep(8)
    load.assert_spotless()
    tell("replicas double from 2 to 4", load.summary(), "ready throughout", took)
    tell("replicas go back to 2", load.summary(), "ready throughout", gone)


@pytest.mark.timeout(400)
def test_from_one_to_four_and_back(autoscaled_up: Up, behave: str, kubectl: Kubectl) -> None:
    up = autoscaled_up
    up.run("register", "behave", "1", behave, "--max", "4", "--target", "2")
    assert until(lambda: kubectl.names("horizontalpodautoscalers"), within=60)
    assert until(lambda: not up.status()["reason"])

    async def under_load() -> None:
        over = asyncio.Event()
        holding = asyncio.create_task(hold(up.url, 8, over))
        grown = await asyncio.to_thread(
            until, lambda: replicas(kubectl) == 4 and up.status()["ready"] == 4, 120
        )
        over.set()
        await holding
        assert grown, kubectl.run("describe", "hpa")

    asyncio.run(under_load())
    # A Longshore that starts anew applies everything once, and leaves the number alone.
    up.kill()
    up.start()
    time.sleep(3)
    assert replicas(kubectl) == 4
    assert until(lambda: replicas(kubectl) == 1, within=150), kubectl.run("describe", "hpa")
    assert until(lambda: up.status()["replicas"] == 1)
    explained = up.json("explain", "behave:1")["decisions"]
    told = [each for each in explained if each["plugin"] == "autoscaler"]
    assert told[0]["outcome"] > told[0]["inputs"]["before"] == 1
    assert told[0]["inputs"]["in_flight"] > 0, "the load that it saw"
    assert told[-1]["outcome"] == 1
    assert "scaled" in [each["kind"] for each in up.json("events", "behave:1")["events"]]


def test_only_the_api_server_gets_an_answer(
    autoscaled_up: Up, kubectl: Kubectl, tmp_path: Path, metrics_port: int
) -> None:
    url = f"https://{own_address()}:{metrics_port}/apis/{GROUP}/v1beta1"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, ssl.SSLError)):
        httpx.get(url, verify=context)
    # A certificate of somebody else's.
    context.load_cert_chain(tmp_path / "metrics.crt", tmp_path / "metrics.key")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, ssl.SSLError)):
        httpx.get(url, verify=context)
    path = f"/apis/{GROUP}/v1beta1"
    assert until(
        lambda: "longshore_requests_in_flight" in kubectl.run("get", f"--raw={path}", check=False)
    )


def test_without_metrics_longshore_scales_and_says_so(
    tmp_path: Path, engine_cli: EngineCli, kubectl: Kubectl, behave: str
) -> None:
    on_cluster(tmp_path, kubectl.namespace)
    up = Up(tmp_path, engine_cli)
    up.start()
    try:
        up.run("register", "behave", "1", behave, "--min", "2", "--max", "4")
        assert until(lambda: up.status()["ready"] == 2)
        assert up.status()["reason"].startswith("scaled by Longshore itself, because the cluster")
        assert kubectl.names("horizontalpodautoscalers") == []
    finally:
        up.clean_up()
