"""What only a cluster can do, or do wrong."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parts.backends import IRIS, Build, eventually, exited, ready, replicas
from parts.kubectl import Kubectl
from parts.kubernetes_backend import (
    KubernetesBackends,
    cluster_address,
    cluster_copy,
)
from parts.tcp_proxy import TcpProxy

from longshore.core.errors import StartRefused, Unavailable, WorkloadFailed
from longshore.core.names import VersionKey
from longshore.core.types import ReplicaState, WorkloadStatus
from longshore.plugins.kubernetes import client
from longshore.plugins.kubernetes.backend import KubernetesBackend
from longshore.plugins.kubernetes.labels import object_name

pytestmark = pytest.mark.kubernetes


async def status(backend: KubernetesBackend, key: VersionKey = IRIS) -> WorkloadStatus:
    """Return what the backend has of a version."""
    return next(each for each in await backend.list() if each.key == key)


async def until(
    backend: KubernetesBackend,
    condition: Callable[[WorkloadStatus], object],
    within: float = 30,
) -> WorkloadStatus:
    """Look at a version until it is as wished, and return it."""
    found: WorkloadStatus | None = None
    try:
        async with asyncio.timeout(within):
            while True:
                found = await status(backend)
                if condition(found):
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s; last seen: {found}") from None


async def kubectl_run(kubectl: Kubectl, *arguments: str) -> str:
    return await asyncio.to_thread(kubectl.run, *arguments)


async def test_what_runs_is_confined(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    await backend.apply(workload(memory_mib=128, cpu_millicores=500))
    (replica,) = await eventually(backend, ready)
    shown = await kubectl_run(
        kubectl, "exec", replica.id, "--", "python3", "-c",
        "import os; status = open('/proc/1/status').read().splitlines();"
        "print([line for line in status if line.startswith(('Uid', 'CapEff', 'NoNewPrivs'))]);"
        "print([os.access(path, os.W_OK) for path in ('/etc', '/tmp', '/run', '/var/tmp')]);"
        "print(os.path.exists('/var/run/secrets/kubernetes.io'), os.environ['HOME'])",
    )  # fmt: skip
    assert "Uid:\\t10001\\t" in shown
    assert "CapEff:\\t0000000000000000" in shown
    assert "NoNewPrivs:\\t1" in shown
    assert "[False, True, True, True]" in shown
    assert "False /tmp" in shown


async def test_the_restricted_standard_has_nothing_against_it(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    namespace = f"namespace/{kubectl.namespace}"
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("label", namespace, "pod-security.kubernetes.io/enforce=restricted")
    await backend.apply(workload())
    await eventually(backend, ready)
    await backend.apply(workload(security={"run_as": 0}))
    found = await until(backend, lambda seen: seen.problem)
    assert found.problem.startswith(
        "the namespace's Pod Security Standard (restricted:latest) forbids it:"
    )
    assert ready(found.replicas), "those before go on"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("deployment", {"spec": {"template": {"spec": {"enableServiceLinks": True}}}}),
        ("service", {"spec": {"selector": {"somebody": "elses"}}}),
        ("service", {"metadata": {"labels": {"app.kubernetes.io/name": "other"}}}),
    ],
)
async def test_what_is_edited_by_hand_is_seen_and_put_right(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl, kind: str, change: Any
) -> None:
    wanted = workload()
    await backend.apply(wanted)
    await eventually(backend, ready)
    name = object_name(backend_owner(backend), IRIS)
    kubectl.run("patch", kind, name, f"--patch={json.dumps(change)}")
    await until(backend, lambda seen: seen.fingerprint != wanted.fingerprint)
    await backend.apply(wanted)
    await until(backend, lambda seen: seen.fingerprint == wanted.fingerprint)
    await eventually(backend, lambda found: len(found) == 1 and ready(found))


async def test_what_is_deleted_by_hand_is_seen_and_comes_back(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    wanted = workload(scaling={"min": 1, "max": 2})
    await backend.apply(wanted)
    await eventually(backend, ready)
    name = object_name(backend_owner(backend), IRIS)
    for kind in ("service", "poddisruptionbudget"):
        await kubectl_run(kubectl, "delete", kind, name)
        await until(backend, lambda seen: seen.fingerprint != wanted.fingerprint)
        await backend.apply(wanted)
        await until(backend, lambda seen: seen.fingerprint == wanted.fingerprint)
    await kubectl_run(kubectl, "delete", "deployment", name)
    await eventually(backend, lambda found: not found)
    await backend.apply(wanted)
    await eventually(backend, ready)


def backend_owner(backend: KubernetesBackend) -> str:
    """Return the installation that a backend runs for."""
    return backend._ready.cluster.owner  # noqa: SLF001 - that the names of objects are made of


async def test_a_pod_that_is_deleted_leaves_before_it_stops(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await backends.open(drain=10)
    await backend.apply(workload())
    (before,) = await eventually(backend, ready)
    await kubectl_run(kubectl, "delete", "pod", before.id, "--wait=false")
    await eventually(backend, lambda found: before.id not in {each.id for each in found}, within=5)
    assert before.address
    reader, writer = await asyncio.open_connection(before.address.host, before.address.port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"200 OK" in await reader.readline(), "it still answers"
    writer.close()
    await eventually(backend, ready)


async def test_others_are_left_alone(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    ours, theirs = await backends.open(), await backends.open("another-installation")
    await ours.apply(workload())
    await theirs.apply(workload())
    await eventually(ours, ready)
    (other,) = await eventually(theirs, ready)
    kubectl.run("create", "configmap", "somebody-elses")
    await ours.close(stop_workloads=True)
    assert await replicas(theirs) == (other,)
    assert "somebody-elses" in kubectl.names("configmaps")


async def test_a_name_that_somebody_else_has_taken_is_left_to_them(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    name = object_name(backend_owner(backend), IRIS)
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("create", "service", "clusterip", name, "--tcp=80")
    with pytest.raises(WorkloadFailed, match=f"has a Service {name} that belongs to somebody"):
        await backend.apply(workload())
    label = "longshore.io/owner=another"
    kubectl.run("label", "service", name, label)
    with pytest.raises(WorkloadFailed, match=r"another installation of Longshore \(another\)"):
        await backend.apply(workload())
    await backend.delete(IRIS)
    assert kubectl.names("services") == [name]
    assert kubectl.names("deployments") == []
    kubectl.run("delete", "service", name)
    await backend.apply(workload())
    await eventually(backend, ready)


async def test_close_removes_everything(
    backends: KubernetesBackends, workload: Build, kubectl: Kubectl
) -> None:
    backend = await backends.open(router_networks=["0.0.0.0/0"])
    await backend.apply(workload(replicas=2, scaling={"min": 2, "max": 4}))
    kinds = ("deployments", "services", "poddisruptionbudgets", "networkpolicies")
    for kind in kinds:
        assert len(kubectl.names(kind)) == 1
    await backend.close(stop_workloads=True)
    await backend.close(stop_workloads=True)
    for kind in kinds:
        assert kubectl.names(kind) == []


async def test_a_quota_of_zero(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    kubectl.run("create", "namespace", kubectl.namespace)
    kubectl.run("create", "quota", "none", "--hard=pods=0")
    await backend.apply(workload(replicas=2))
    found = await until(backend, lambda seen: seen.problem)
    assert found.problem.startswith("a quota of the namespace is used up: none, requested: pods=1")
    assert found.replicas == ()
    await kubectl_run(kubectl, "delete", "quota", "none")
    # The cluster tries again by itself, but takes its time; to ask is to have it at once.
    await backend.delete(IRIS)
    await backend.apply(workload(replicas=2))
    found = await until(backend, lambda seen: ready(seen.replicas))
    assert not found.problem


def policy(name: str) -> list[dict[str, Any]]:
    """Return a policy of the cluster that refuses pods of one namespace, and its binding."""
    api = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
    there = {"matchLabels": {"kubernetes.io/metadata.name": name}}
    return [
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [{**rule, "resources": ["pods"]}]},
                "validations": [{"expression": "false", "message": "no pods on Tuesdays"}],
            },
        },
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": there},
            },
        },
    ]


async def test_a_policy_of_the_cluster_that_refuses(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    made = policy(kubectl.namespace)
    kubectl.run("create", "namespace", kubectl.namespace)
    for each in made:
        kubectl.apply(each)
    try:
        # It takes the API server a moment to know its policies.
        async with asyncio.timeout(30):
            while not (found := await refused(backend, workload)).problem:
                await backend.delete(IRIS)
        assert found.problem.startswith(f"the cluster's policy {kubectl.namespace} refuses it: ")
        assert "no pods on Tuesdays" in found.problem
    finally:
        for each in made:
            kubectl.run("delete", each["kind"], kubectl.namespace)


async def refused(backend: KubernetesBackend, workload: Build) -> WorkloadStatus:
    """Return what becomes of a new version within a moment."""
    await backend.apply(workload())
    await asyncio.sleep(0.5)
    return await status(backend)


async def test_a_version_that_fits_nowhere_says_so(
    backend: KubernetesBackend, workload: Build
) -> None:
    await backend.apply(workload(memory_mib=1 << 30))
    (replica,) = await eventually(backend, lambda found: found and found[0].hopeless)
    assert replica.reason.startswith("no node has room for it: 0/1 nodes are available:")
    assert "Insufficient memory" in replica.reason


async def test_an_image_that_is_missing_says_so(
    backend: KubernetesBackend, workload: Build, registry: str
) -> None:
    await backend.apply(workload(image=f"{registry}/nobody@sha256:{'0' * 64}"))
    (replica,) = await eventually(backend, lambda found: found and found[0].hopeless)
    assert replica.reason == (
        f"the image {registry}/nobody@sha256:000000000000 is not in the registry {registry}"
    )


async def test_an_object_that_the_cluster_refuses(
    backends: KubernetesBackends, workload: Build
) -> None:
    backend = await backends.open(tmp_size="much")
    with pytest.raises(WorkloadFailed, match=r"the cluster refuses it: .*quantities must match"):
        await backend.apply(workload())
    assert await replicas(backend) == ()


async def test_a_namespace_that_is_deleted_is_made_again(
    backend: KubernetesBackend, workload: Build, kubectl: Kubectl
) -> None:
    await backend.apply(workload())
    await eventually(backend, ready)
    await kubectl_run(kubectl, "delete", "namespace", kubectl.namespace)
    assert await replicas(backend) == ()
    await backend.apply(workload())
    await eventually(backend, ready)


async def test_a_crashing_version_is_never_ready(
    backend: KubernetesBackend, workload: Build
) -> None:
    await backend.apply(workload(env={"EXIT": "3"}))
    seen: set[ReplicaState] = set()

    def look(found: Any) -> bool:
        seen.update(each.state for each in found)
        return exited(found)

    await eventually(backend, look)
    assert ReplicaState.READY not in seen


async def test_a_cluster_that_is_not_there(backends: KubernetesBackends, tmp_path: Path) -> None:
    nowhere = tmp_path / "config"
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
    )
    with pytest.raises(StartRefused, match="leads to cannot be used: the Kubernetes API does not"):
        await backends.open(kubeconfig=str(nowhere))
    nowhere.write_text("nonsense: [")
    with pytest.raises(StartRefused, match="leads to no cluster"):
        await backends.open(kubeconfig=str(nowhere))
    with pytest.raises(StartRefused, match="leads to no cluster"):
        await backends.open(context="moon")


async def test_credentials_that_nobody_knows(
    backends: KubernetesBackends, cluster: str, tmp_path: Path
) -> None:
    copy = cluster_copy(cluster, tmp_path, user={"token": "expired"})
    with pytest.raises(StartRefused, match="does not accept the credentials: Unauthorized"):
        await backends.open(kubeconfig=str(copy))


async def test_the_api_server_goes_and_comes_back(
    backends: KubernetesBackends, workload: Build, cluster: str, tmp_path: Path, kubectl: Kubectl
) -> None:
    async with TcpProxy(*cluster_address(cluster)) as proxy:
        copy = cluster_copy(cluster, tmp_path, port=proxy.port)
        backend = await backends.open(kubeconfig=str(copy))
        await backend.apply(workload(replicas=2))
        before = await eventually(backend, lambda found: len(found) == 2 and ready(found))
        hints = backend.watch()
        await proxy.stop()

        async def look() -> None:
            while True:
                await anext(hints)
                await backend.list()

        with pytest.raises(Unavailable, match="the Kubernetes API does not answer"):
            await asyncio.wait_for(look(), 20)
        with pytest.raises(Unavailable):
            await backend.apply(workload(replicas=1))
        # What happened meanwhile is found out when it is back.
        await kubectl_run(kubectl, "delete", "pod", before[0].id)
        await proxy.start()
        async with asyncio.timeout(20):
            while True:
                await anext(hints)
                with contextlib.suppress(Unavailable):
                    await backend.list()
                    break
        after = await eventually(backend, lambda found: len(found) == 2 and ready(found))
        assert before[1] in after
        assert before[0] not in after


async def test_credentials_that_expire_are_read_anew(
    backends: KubernetesBackends,
    workload: Build,
    cluster: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "RELOAD_AFTER", 0)
    kubectl = Kubectl(backends.namespace)
    kubectl.run("create", "namespace", backends.namespace)
    account = ("serviceaccount", "short-lived")

    def token() -> str:
        kubectl.run("create", *account)
        return kubectl.run("create", "token", account[1]).strip()

    user = f"{backends.namespace}:short-lived"
    name = f"longshore-{backends.namespace}"
    kubectl.run(
        *("create", "clusterrolebinding", name, "--clusterrole=cluster-admin"),
        f"--serviceaccount={user}",
    )
    try:
        copy = cluster_copy(cluster, tmp_path, user={"token": token()})
        backend = await backends.open(kubeconfig=str(copy))
        await backend.apply(workload())
        await eventually(backend, ready)
        # Its tokens are worth nothing from now on.
        await kubectl_run(kubectl, "delete", *account)

        async def refused() -> None:
            while True:
                await backend.nodes()
                await asyncio.sleep(0.5)

        with pytest.raises(Unavailable, match="does not accept the credentials"):
            await asyncio.wait_for(refused(), 30)
        cluster_copy(cluster, tmp_path, user={"token": token()})
        assert await backend.nodes()
        [before] = await eventually(backend, ready)
        # What happens now is seen: watches went over to the new credentials, too.
        await kubectl_run(kubectl, "delete", "pod", before.id, "--wait=false")
        await eventually(backend, lambda found: before not in found and ready(found))
    finally:
        kubectl.run("delete", "clusterrolebinding", name)


async def test_a_health_path_that_need_not_be_there_counts_where_it_is(
    backend: KubernetesBackend, workload: Build
) -> None:
    # Its port is open, and it says itself that it is not ready.
    await backend.apply(workload(env={"HEALTH": "503"}, health_required=False))
    found = await eventually(
        backend, lambda found: found and found[0].reason == "GET /health answered 503"
    )
    assert found[0].state is ReplicaState.STARTING
