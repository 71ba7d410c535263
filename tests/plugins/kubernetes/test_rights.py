"""The rights in deploy/kubernetes/rights.yaml suffice, and each of them is used."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from examples_of import serving, version
from parts.backends import IRIS, LOGIN, Build, eventually, exited, pinned, ready
from parts.claimable import device_class
from parts.helm import CHART
from parts.images import push_image
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends, cluster_address, cluster_copy
from parts.routed import until
from parts.tcp_proxy import TcpProxy
from pydantic import SecretStr

from longshore.core.errors import Unavailable, WorkloadFailed
from longshore.core.settings import RegistryLogin, Settings
from longshore.core.types import Confidence, Evidence, NodeReport, Version, utc_now
from longshore.plugins.kubernetes import allocation
from longshore.plugins.kubernetes.autoscaling import Autoscaling
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.client import ApiError, Client

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
RIGHTS = FOLDER / "rights.yaml"
CLAIMS = FOLDER / "rights-dra.yaml"

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/[^/]+)?/(?P<plural>[a-z_]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+))?)?"
)

Right = tuple[str, str, str]
"""API group, resource, verb."""


def granted(name: str, rights: Path = RIGHTS) -> set[Right]:
    """Return what the roles of this name allow."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(rights.read_text()))
    mine = [each for each in documents if each["metadata"]["name"] == name]
    return {right for each in mine for right in given_by(each.get("rules") or ())}


def given_by(rules: Iterable[dict[str, Any]]) -> set[Right]:
    """Return what rules allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def rights_of(call: Any, status: int) -> set[Right]:
    """Return which rights a request needed."""
    found = _PATH.fullmatch(call.path)
    if not found:
        return set()
    group, resource = found["group"] or "", found["plural"]
    if found["sub"]:
        resource += f"/{found['sub']}"
    verb = {"PATCH": "patch", "POST": "create", "DELETE": "delete"}.get(call.method, "")
    if not verb:
        watches = call.query.get("watch") == "true"
        verb = "watch" if watches else "get" if found["name"] else "list"
    # Applying what was not there is creating it.
    created = {(group, resource, "create")} if status == 201 else set()
    return created | {(group, resource, verb)}


@pytest.fixture
def given(kubectl: Kubectl) -> Iterator[None]:
    """The rights, in a namespace of the test's."""
    kubectl.run("create", "namespace", kubectl.namespace)
    give(kubectl, RIGHTS)
    yield
    for kind in ("clusterrolebinding", "clusterrole"):
        kubectl.run("delete", kind, kubectl.namespace)


@pytest.fixture
def given_claims(kubectl: Kubectl, given: None) -> Iterator[None]:
    """The rights to claim GPUs, besides."""
    give(kubectl, CLAIMS)
    yield
    for kind in ("clusterrolebinding", "clusterrole"):
        kubectl.run("delete", kind, f"{kubectl.namespace}-dra")


def give(kubectl: Kubectl, rights: Path) -> None:
    """Apply rights, in a namespace of the test's."""
    unique = kubectl.namespace
    text = rights.read_text().replace("namespace: longshore", f"namespace: {unique}")
    # What is not in the namespace needs a name of its own.
    text = re.sub(
        r"(kind: ClusterRole(?:Binding)?\n(?:metadata:\n)?  name: )longshore", rf"\1{unique}", text
    )
    kubectl.run("apply", "--filename=-", given=text)


@pytest.fixture
def limited(cluster: str, kubectl: Kubectl, tmp_path: Path, given: None) -> Callable[[str], str]:
    """Writes a kubeconfig of a service account that has these rights and no others."""

    def write(account: str) -> str:
        token = kubectl.run("create", "token", account).strip()
        directory = tmp_path / account
        directory.mkdir()
        return str(cluster_copy(cluster, directory, user={"token": token}))

    return write


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[Right]:
    """Rights that were needed since."""
    used: set[Right] = set()
    send = Client._send  # noqa: SLF001 - every request passes here

    async def recorded(client: Client, call: Any) -> Any:
        try:
            response = await send(client, call)
        except ApiError as error:
            # Who may not ask does not learn that there is nothing.
            if error.status == 404:
                used.update(rights_of(call, error.status))
            raise
        used.update(rights_of(call, response.status))
        return response

    monkeypatch.setattr(Client, "_send", recorded)
    return used


@pytest.mark.kubernetes
async def test_a_router_needs_nothing_but_endpoint_slices(
    backends: KubernetesBackends,
    workload: Build,
    limited: Callable[[str], str],
    used: set[Right],
) -> None:
    router = await backends.open(kubeconfig=limited("longshore-router"), to_read=True)
    key = version("iris").model_copy(update={"serving": serving()})
    assert await router.endpoints([key]) == {IRIS: ()}
    assert await until(lambda: used == granted("longshore-router")), used
    controller = await backends.open()
    await controller.apply(workload(replicas=2))
    there = await eventually(controller, lambda found: len(found) == 2 and ready(found))
    assert await told(router, key, {(each.id, str(each.address)) for each in there})
    await controller.apply(workload(replicas=1))
    (left,) = await eventually(controller, lambda found: len(found) == 1)
    assert await told(router, key, {(left.id, str(left.address))})
    with pytest.raises(Unavailable):
        await router.list()


@pytest.mark.kubernetes
async def test_a_router_goes_on_while_the_api_server_is_away(
    backends: KubernetesBackends, workload: Build, cluster: str, tmp_path: Path
) -> None:
    controller = await backends.open()
    known = version("iris")
    async with TcpProxy(*cluster_address(cluster)) as proxy:
        there = str(cluster_copy(cluster, tmp_path, port=proxy.port))
        router = await backends.open(kubeconfig=there, to_read=True)
        await controller.apply(workload())
        (first,) = await eventually(controller, ready)
        assert await told(router, known, {(first.id, str(first.address))})
        await proxy.stop()
        await controller.apply(workload(replicas=2))
        both = await eventually(controller, lambda found: len(found) == 2 and ready(found))
        await asyncio.sleep(1)
        assert await told(router, known, {(first.id, str(first.address))})
        await proxy.start()
        assert await told(router, known, {(each.id, str(each.address)) for each in both})


async def told(router: KubernetesBackend, version: Version, there: set[tuple[str, str]]) -> bool:
    """Return whether a router comes to know these replicas and no others."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while True:
                found = (await router.endpoints([version]))[version.key]
                if {(each.replica, str(each.address)) for each in found} == there:
                    return True
                await asyncio.sleep(0.1)
    return False


@pytest.mark.kubernetes
async def test_the_rights_suffice_and_each_is_used(
    *,
    backends: KubernetesBackends,
    workload: Build,
    limited: Callable[[str], str],
    used: set[Right],
    monkeypatch: pytest.MonkeyPatch,
    kubectl: Kubectl,
    registry: str,
) -> None:
    user, password = LOGIN
    image = workload().image
    ahead = pinned(push_image("behave", registry, f"behave-{kubectl.namespace}"))
    login = RegistryLogin(username=user, password=SecretStr(password))
    platform = Settings(registries={image.partition("/")[0]: login})
    backend = await backends.open(
        kubeconfig=limited("longshore"), platform=platform, router_networks=["0.0.0.0/0"], prepull=1
    )
    backend.expect([workload(image=ahead, replicas=0)])
    assert await until(lambda: ("", "pods", "create") in used)
    await backend.nodes()
    several = {"min": 1, "max": 3}
    await backend.apply(workload(replicas=2, scaling=several))
    await eventually(backend, lambda found: len(found) == 2 and ready(found))
    await backend.measured([IRIS])
    await backend.apply(workload(replicas=1, scaling=several))
    await backend.apply(workload(env={"EXIT": "3"}))
    await eventually(backend, lambda found: exited(found[-1:]))
    await backend.apply(workload(env={"EXIT": "3"}))
    async for _ in backend.logs(IRIS):
        pass
    # As if the cluster served the metrics that an autoscaler goes by.
    monkeypatch.setattr(Autoscaling, "may_scale", lambda *_: True)
    for _ in range(2):
        await backend.apply(workload(scaling=several))
    assert kubectl.names("horizontalpodautoscalers")
    await backend.delete(IRIS)
    assert used == granted("longshore")
    assert kubectl.names("deployments") == []


@pytest.fixture
def own_class(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A DeviceClass of the test's, instead of that which all who claim GPUs share."""
    kubectl.apply(device_class(kubectl.namespace))
    monkeypatch.setattr(allocation, "CLASS", kubectl.namespace)
    yield
    kubectl.run("delete", "deviceclass", kubectl.namespace)


@pytest.mark.kubernetes
@pytest.mark.usefixtures("given_claims", "own_class")
async def test_to_claim_gpus_needs_little_more_and_all_of_that(
    backends: KubernetesBackends,
    workload: Build,
    limited: Callable[[str], str],
    used: set[Right],
    kubectl: Kubectl,
) -> None:
    backend = await backends.open(kubeconfig=limited("longshore"), gpu_allocation="dra")
    await backend.nodes()
    await backend.apply(workload(gpu_count=1))
    assert kubectl.names("resourceclaimtemplates.v1.resource.k8s.io")
    await backend.delete(IRIS)
    assert kubectl.names("resourceclaimtemplates.v1.resource.k8s.io") == []
    more = granted("longshore-dra", CLAIMS)
    assert {each for each in used if each[0] == "resource.k8s.io"} == more
    assert used - more <= granted("longshore")


@pytest.mark.kubernetes
async def test_without_these_rights_a_version_that_claims_says_so(
    backends: KubernetesBackends, workload: Build, limited: Callable[[str], str]
) -> None:
    backend = await backends.open(kubeconfig=limited("longshore"), gpu_allocation="dra")
    with pytest.raises(WorkloadFailed, match="may not list DeviceClasses") as refused:
        await backend.apply(workload(gpu_count=1))
    assert "rights-dra.yaml" in refused.value.hint
    await backend.apply(workload())
    await eventually(backend, ready)
    await backend.delete(IRIS)


@pytest.mark.kubernetes
async def test_who_reports_a_node_needs_nothing_but_leases(
    backends: KubernetesBackends,
    kubectl: Kubectl,
    cluster: str,
    tmp_path: Path,
    used: set[Right],
) -> None:
    rules = yaml.safe_load((CHART / "rights" / "node.yaml").read_text())
    name, namespace = "longshore-node", kubectl.namespace
    kubectl.run("create", "namespace", namespace)
    kubectl.run("create", "serviceaccount", name)
    kubectl.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
            "rules": rules,
        }
    )
    kubectl.run(
        "create", "rolebinding", name, f"--role={name}", f"--serviceaccount={namespace}:{name}"
    )
    token = kubectl.run("create", "token", name).strip()
    own = str(cluster_copy(cluster, tmp_path, user={"token": token}))
    node = kubectl.names("nodes")[0]
    pod = await backends.open(kubeconfig=own, to_report=True)
    for driver in ("570.1", "580.65.06"):
        fact = Evidence(value=driver, source="NVML", confidence=Confidence.EXACT)
        report = NodeReport(facts={"driver": fact}, read_at=utc_now(), lasts=900)
        await pod.report(node, report)
    assert used == given_by(rules)
    controller = await backends.open()
    found = {each.name: each.report for each in await controller.nodes()}
    assert found[node] == report
