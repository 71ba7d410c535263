"""Reports of nodes on a real cluster: by the real program, with its rights, and by others."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from parts import nvml_stub
from parts.cli_program import PROGRAM
from parts.helm import CHART, Helm, HelmMissing
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends, cluster_copy

from longshore.core.errors import Unavailable
from longshore.core.types import Confidence, Evidence, Node, NodeReport, utc_now
from longshore.hardware.node.plugin import Plugin
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.node_reports import ANNOTATION, lease_of

pytestmark = pytest.mark.kubernetes

ACCOUNT = "longshore-node"


@pytest.fixture
def node_name(kubectl: Kubectl) -> str:
    """The name of a node of the cluster."""
    kubectl.run("create", "namespace", kubectl.namespace)
    return kubectl.names("nodes")[0]


@pytest_asyncio.fixture
async def controller(
    node_name: str, backends: KubernetesBackends
) -> AsyncIterator[KubernetesBackend]:
    yield await backends.open()


@pytest.fixture
def installed(kubectl: Kubectl, node_name: str) -> Iterator[None]:
    """The account of the chart's pods, with its rights and its policy."""
    try:
        values = {"image": {"repository": "x"}, "database": {"existingSecret": "x"}}
        helm = Helm(kubectl.namespace, {**values, "nodeInspection": {"enabled": True}})
    except HelmMissing as missing:
        pytest.skip(str(missing))
    kinds = {"ServiceAccount", "Role", "RoleBinding"}
    for (kind, name), manifest in helm.objects().items():
        if (kind in kinds and name == ACCOUNT) or kind.startswith("ValidatingAdmission"):
            kubectl.apply(manifest)
    yield
    policy = f"{ACCOUNT}-{kubectl.namespace}"
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        kubectl.run("delete", kind, policy)


@pytest.fixture
def on_a_node(
    installed: None, cluster: str, kubectl: Kubectl, tmp_path: Path
) -> Callable[..., str]:
    """Writes a kubeconfig with a token of the account, as the kubelet of a node gets it."""

    def write(*bound: str) -> str:
        token = kubectl.run("create", "token", ACCOUNT, *bound).strip()
        return str(cluster_copy(cluster, tmp_path, user={"token": token}))

    return write


def report(driver: str = "580.65.06") -> NodeReport:
    fact = Evidence(value=driver, source="NVML", confidence=Confidence.EXACT)
    return NodeReport(facts={"driver": fact}, read_at=utc_now(), lasts=900)


async def seen(backend: KubernetesBackend, name: str) -> Node:
    return next(each for each in await backend.nodes() if each.name == name)


async def test_the_program_reports_what_it_reads_on_its_node(
    *,
    on_a_node: Callable[..., str],
    controller: KubernetesBackend,
    node_name: str,
    kubectl: Kubectl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml_stub.use(monkeypatch, nvml_stub.build(tmp_path / "nvml"))
    kubeconfig = on_a_node("--bound-object-kind=Node", f"--bound-object-name={node_name}")
    settings = f'namespace = "{kubectl.namespace}", kubeconfig = "{kubeconfig}"'
    (tmp_path / "plugins.toml").write_text(
        '[longshore]\nbackend = "kubernetes"\n\n'
        f'[[plugin]]\nname = "kubernetes"\nsettings = {{ {settings} }}\n'
    )
    running = await asyncio.create_subprocess_exec(
        *(PROGRAM, "node", node_name), cwd=tmp_path, stderr=subprocess.PIPE
    )
    try:
        node = await comes(controller, node_name, lambda found: found is not None)
    finally:
        running.send_signal(signal.SIGTERM)
        _, said = await running.communicate()
    assert (running.returncode, b"Stopped." in said) == (0, True), said
    # As a controller elsewhere sees it.
    facts = await Plugin().longshore_profile_node(node.model_copy(update={"name": "elsewhere"}))
    assert facts["driver"].value == "580.65.06"
    assert facts["driver"].source.startswith("nvmlSystemGetDriverVersion; read on the node ")
    gpus = facts["gpus"]
    assert isinstance(gpus.value, list)
    assert (len(gpus.value), gpus.confidence) == (2, Confidence.EXACT)
    assert facts["cpu_flags"].confidence is Confidence.EXACT
    assert facts["memory_limit_mib"].value == node.memory_mib


async def test_an_account_writes_the_report_of_its_own_node_alone(
    on_a_node: Callable[..., str], backends: KubernetesBackends, node_name: str, kubectl: Kubectl
) -> None:
    kubeconfig = on_a_node("--bound-object-kind=Node", f"--bound-object-name={node_name}")
    own = await backends.open(kubeconfig=kubeconfig, to_report=True)
    async with asyncio.timeout(60):
        while await allowed(own, "another-node"):  # noqa: ASYNC110 - a policy holds a moment later
            await asyncio.sleep(0.2)
    kubectl.run("delete", "lease", "another-node", "--ignore-not-found")
    assert await allowed(own, node_name)
    assert kubectl.names("leases") == [node_name]
    # A token that is no node's writes none.
    unbound = await backends.open(kubeconfig=on_a_node(), to_report=True)
    assert not await allowed(unbound, node_name)


async def allowed(backend: KubernetesBackend, node: str) -> bool:
    """Return whether a report was taken; if not, it was by the policy."""
    try:
        await backend.report(node, report())
    except Unavailable as error:
        if "the report of its own node, and no other Lease" in error.message:
            return False
        raise
    return True


async def test_a_report_goes_with_the_pod_that_made_it(
    controller: KubernetesBackend,
    backends: KubernetesBackends,
    node_name: str,
    kubectl: Kubectl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "inspects", "namespace": kubectl.namespace},
        # No scheduler takes it, so nothing has to run.
        "spec": {"containers": [{"name": "x", "image": "x"}], "schedulerName": "none"},
    }
    kubectl.apply(pod)
    monkeypatch.setenv("POD_NAME", "inspects")
    monkeypatch.setenv("POD_UID", kubectl.get("pod", "inspects")["metadata"]["uid"])
    inspection = await backends.open(to_report=True)
    await inspection.report(node_name, report())
    await comes(controller, node_name, lambda found: found is not None)
    kubectl.run("delete", "pod", "inspects")
    await comes(controller, node_name, lambda found: found is None)
    assert kubectl.names("leases") == []


async def comes(
    backend: KubernetesBackend, name: str, wanted: Callable[[NodeReport | None], bool]
) -> Node:
    """Return a node once its report is as wanted."""
    async with asyncio.timeout(120):
        while True:
            node = await seen(backend, name)
            if wanted(node.report):
                return node
            await asyncio.sleep(0.1)


async def test_a_hostile_report_is_told_once_and_harms_nobody(
    controller: KubernetesBackend,
    node_name: str,
    kubectl: Kubectl,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = lease_of(node_name, report(), None)
    lease["metadata"]["annotations"] = {ANNOTATION: '{"format": 1, "facts": {"gpus": 7}}'}
    kubectl.apply(lease)
    said = f"the report of node {node_name} (Lease {node_name}) is left aside"
    async with asyncio.timeout(60):
        while said not in caplog.text:
            assert (await seen(controller, node_name)).report is None
            await asyncio.sleep(0.1)
    for _ in range(3):
        await controller.nodes()
    assert caplog.text.count(said) == 1
    # Nor does one of a node that is not there.
    kubectl.apply(lease_of("not-there", report(), None))
    kubectl.apply(lease_of(node_name, report("570.1"), None))
    await comes(controller, node_name, lambda found: found is not None)
    assert "not-there" not in {each.name for each in await controller.nodes()}


async def test_without_the_right_to_read_reports_nodes_are_known_as_before(
    backends: KubernetesBackends, cluster: str, kubectl: Kubectl, node_name: str, tmp_path: Path
) -> None:
    kubectl.apply(lease_of(node_name, report(), None))
    rules = yaml.safe_load((CHART / "rights" / "controller.yaml").read_text())
    name, unique = "older", f"{kubectl.namespace}-older"
    kubectl.run("create", "serviceaccount", name)
    account = f"--serviceaccount={kubectl.namespace}:{name}"
    try:
        kubectl.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": name, "namespace": kubectl.namespace},
                "rules": [each for each in rules if each["resources"] != ["leases"]],
            }
        )
        kubectl.run("create", "rolebinding", name, f"--role={name}", account)
        kubectl.run("create", "clusterrole", unique, "--verb=list", "--resource=nodes")
        kubectl.run("create", "clusterrolebinding", unique, f"--clusterrole={unique}", account)
        token = kubectl.run("create", "token", name).strip()
        own = str(cluster_copy(cluster, tmp_path, user={"token": token}))
        backend = await backends.open(kubeconfig=own)
        assert (await seen(backend, node_name)).report is None
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            kubectl.run("delete", kind, unique)
