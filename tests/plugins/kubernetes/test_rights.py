"""The rights in deploy/kubernetes/rights.yaml suffice, and each of them is used."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts.backends import IRIS, LOGIN, Build, eventually, exited, ready
from parts.kubectl import Kubectl
from parts.kubernetes_backend import KubernetesBackends, cluster_copy
from pydantic import SecretStr

from longshore.core.settings import RegistryLogin, Settings
from longshore.plugins.kubernetes.client import ApiError, Client

RIGHTS = Path(__file__).parents[3] / "deploy" / "kubernetes" / "rights.yaml"

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+(?:/namespaces/[^/]+)?/(?P<plural>[a-z_]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+))?)?"
)

Right = tuple[str, str, str]
"""API group, resource, verb."""


def granted() -> set[Right]:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(RIGHTS.read_text()))
    return {
        (group, resource, verb)
        for each in documents
        for rule in each.get("rules") or ()
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
def limited(cluster: str, kubectl: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of a service account that has these rights and no others."""
    unique = kubectl.namespace
    text = RIGHTS.read_text().replace("namespace: longshore", f"namespace: {unique}")
    # What is not in the namespace needs a name of its own.
    text = re.sub(
        r"(kind: ClusterRole(?:Binding)?\n(?:metadata:\n)?  name: )longshore", rf"\1{unique}", text
    )
    kubectl.run("create", "namespace", unique)
    kubectl.run("apply", "--filename=-", given=text)
    token = kubectl.run("create", "token", "longshore").strip()
    yield cluster_copy(cluster, tmp_path, user={"token": token})
    for kind in ("clusterrolebinding", "clusterrole"):
        kubectl.run("delete", kind, unique)


@pytest.mark.kubernetes
async def test_the_rights_suffice_and_each_is_used(
    backends: KubernetesBackends,
    workload: Build,
    limited: Path,
    monkeypatch: pytest.MonkeyPatch,
    kubectl: Kubectl,
) -> None:
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
    user, password = LOGIN
    image = workload().image
    login = RegistryLogin(username=user, password=SecretStr(password))
    platform = Settings(registries={image.partition("/")[0]: login})
    backend = await backends.open(
        kubeconfig=str(limited), platform=platform, router_networks=["0.0.0.0/0"]
    )
    await backend.nodes()
    several = {"min": 1, "max": 3}
    await backend.apply(workload(replicas=2, scaling=several))
    await eventually(backend, lambda found: len(found) == 2 and ready(found))
    await backend.apply(workload(replicas=1, scaling=several))
    await backend.apply(workload(env={"EXIT": "3"}))
    await eventually(backend, lambda found: exited(found[-1:]))
    await backend.apply(workload(env={"EXIT": "3"}))
    async for _ in backend.logs(IRIS):
        pass
    await backend.delete(IRIS)
    # Autoscalers are made only where the cluster serves the metrics, which takes a whole platform.
    used |= {("autoscaling", "horizontalpodautoscalers", each) for each in ("create", "patch")}
    assert used == granted()
    assert kubectl.names("deployments") == []
