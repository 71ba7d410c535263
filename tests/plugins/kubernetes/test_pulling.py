"""Images that are pulled ahead on a real node, which has never had them."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from engine_cli import EngineCli
from parts.backends import LOGIN, Build, eventually, pinned, ready
from parts.images import logged_in, push_image
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends
from pydantic import SecretStr

from longshore.core.settings import RegistryLogin, Settings
from longshore.plugins.kubernetes import prepull
from longshore.plugins.kubernetes.pulling import LOOK_EVERY

pytestmark = pytest.mark.kubernetes

MOST_LISTED = 50
"""``nodeStatusMaxImages`` of kubelets, by default."""


@pytest.fixture
def unknown_image(registry: str, kubectl: Kubectl) -> str:
    """An image with a digest of its own, which no node has; and a strict namespace."""
    kubectl.run("create", "namespace", kubectl.namespace)
    strict = "pod-security.kubernetes.io/enforce=restricted"
    kubectl.run("label", "namespace", kubectl.namespace, strict)
    return pinned(push_image("behave", registry, f"behave-{kubectl.namespace}"))


@pytest.fixture
def private_image(engine_cli: EngineCli, private_registry: str, kubectl: Kubectl) -> str:
    """One like it, in the registry that asks for a login."""
    kubectl.run("create", "namespace", kubectl.namespace)
    with logged_in(engine_cli, private_registry, LOGIN):
        return pinned(push_image("behave", private_registry, f"behave-{kubectl.namespace}"), LOGIN)


@pytest.fixture
def listed(kubectl: Kubectl) -> Callable[[str], list[str]]:
    """Tells which nodes list an image."""
    if any(len(node["status"]["images"]) >= MOST_LISTED for node in kubectl.get("nodes")["items"]):
        pytest.skip(f"a node has more images than it lists: {MOST_LISTED}, the largest ones")

    def names(image: str) -> list[str]:
        return [
            node["metadata"]["name"]
            for node in kubectl.get("nodes")["items"]
            if any(image in (each.get("names") or ()) for each in node["status"]["images"])
        ]

    return names


def reasons(kubectl: Kubectl, pod: str) -> list[str]:
    """Return what the cluster told of a pod, which is gone by now, oldest first."""
    events = kubectl.get("events", f"--field-selector=involvedObject.name={pod}")["items"]
    return [
        each["reason"] for each in sorted(events, key=lambda each: each["firstTimestamp"] or "")
    ]


def only_pull(kubectl: Kubectl) -> str:
    """Return the name of the pod that pulled an image, which is gone by now."""
    names = {each["involvedObject"]["name"] for each in kubectl.get("events")["items"]}
    [pod] = {name for name in names if "-pull-" in name}
    return str(pod)


async def comes(condition: Callable[[], object], within: float = 60) -> bool:
    """Return whether a condition came true in time; kubectl asks beside the loop's own work."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while True:
                if await asyncio.to_thread(condition):
                    return True
                await asyncio.sleep(0.1)
    return False


async def test_a_node_gets_an_image_ahead_and_nothing_of_it_runs(
    backends: KubernetesBackends,
    workload: Build,
    unknown_image: str,
    listed: Callable[[str], list[str]],
    kubectl: Kubectl,
) -> None:
    backend = await backends.open(prepull=1)
    asleep = workload(image=unknown_image, replicas=0)
    assert not listed(unknown_image)
    backend.expect([asleep])
    assert await comes(lambda: listed(unknown_image))
    assert await comes(lambda: not kubectl.names("pods"))
    assert await backend.list() == []
    told = reasons(kubectl, only_pull(kubectl))
    assert "Pulled" in told
    # Nor did anything of it run: its container was never started.
    assert "Failed" in told
    assert "Started" not in told
    # The version itself finds it there.
    await backend.apply(asleep.model_copy(update={"replicas": 1}))
    [replica] = await eventually(backend, ready)
    assert {"Pulled", "Started"} <= set(reasons(kubectl, replica.id))
    assert "Pulling" not in reasons(kubectl, replica.id)


async def test_a_private_image_is_pulled_with_its_login_which_goes_with_the_pull(
    backends: KubernetesBackends,
    workload: Build,
    private_image: str,
    listed: Callable[[str], list[str]],
    kubectl: Kubectl,
) -> None:
    user, password = LOGIN
    login = RegistryLogin(username=user, password=SecretStr(password))
    host = private_image.partition("/")[0]
    backend = await backends.open(prepull=1, platform=Settings(registries={host: login}))
    backend.expect([workload(image=private_image, replicas=0)])
    assert await comes(lambda: kubectl.names("secrets"))
    assert await comes(lambda: listed(private_image))
    assert await comes(lambda: not kubectl.names("pods"))
    assert await comes(lambda: not kubectl.names("secrets"))


async def test_a_pull_that_cannot_be_is_given_up_and_is_no_fault_of_its_version(
    backends: KubernetesBackends,
    workload: Build,
    kubectl: Kubectl,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prepull, "PATIENCE", timedelta(seconds=1))
    kubectl.run("create", "namespace", kubectl.namespace)
    there = workload()
    backend = await backends.open(prepull=1)
    missing = there.image.partition("@")[0] + "@sha256:" + "0" * 64
    backend.expect([there.model_copy(update={"image": missing})])
    assert await comes(lambda: "could not be pulled ahead" in caplog.text)
    assert "tried again in 60 s" in caplog.text
    assert await comes(lambda: not kubectl.names("pods"))
    await backend.apply(there)
    await eventually(backend, ready)


async def test_what_a_crash_left_is_found_and_removed(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    kubectl.run("create", "namespace", kubectl.namespace)
    crashed = await backends.open(prepull=1)
    image = workload().image.partition("@")[0] + "@sha256:" + "0" * 64
    crashed.expect([workload(image=image, replicas=0)])
    assert await comes(lambda: kubectl.names("pods"))
    await crashed.close(stop_workloads=False)
    leads: list[str] = []
    other = await backends.open(prepull=0)
    other.act_only_while(lambda: bool(leads))
    other.expect([workload(image=image, replicas=0)])
    await asyncio.sleep(3 * LOOK_EVERY)
    # It is the leader's to find.
    assert kubectl.names("pods")
    leads.append("now")
    assert await comes(lambda: not kubectl.names("pods"))
