"""The same as the chart by kubectl alone, and all of it replaced under load, as an upgrade does."""

import base64
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parts.helm import REPOSITORY
from parts.installed import Installed, Ways, pods_tell
from parts.kubectl import Kubectl
from parts.platform import until
from parts.postgres import Postgres
from parts.service import service
from parts.steady_load import Ledger, steady_load
from parts.stopwatch import tell

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

KEY = "a-key-of-the-operator"


@pytest.fixture
def overlay(tmp_path: Path, ways: Ways, postgres: Postgres, platform_image: str) -> Path:
    """A directory as docs/operators.md shows one, with what this machine needs besides."""
    name, _, tag = platform_image.rpartition(":")
    sidecar = {
        **ways.sidecar("longshore"),
        "restartPolicy": "Always",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    patches = [
        {
            "patch": json.dumps(_patch(part, sidecar, ways.environment)),
            "target": {"kind": "Deployment", "name": f"longshore-{part}"},
        }
        for part in ("controller", "router")
    ]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "longshore",
        "resources": [os.path.relpath(REPOSITORY / "deploy" / "kubernetes", tmp_path.resolve())],
        "images": [{"name": "longshore", "newName": name, "newTag": tag}],
        "secretGenerator": [
            {
                "name": "longshore",
                "options": {"disableNameSuffixHash": True},
                "literals": [
                    f"database={postgres.new_database().replace('+psycopg', '')}",
                    f"api-key={KEY}",
                ],
            }
        ],
        "patches": patches,
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    return tmp_path


def _patch(part: str, sidecar: dict[str, Any], variables: list[dict[str, str]]) -> dict[str, Any]:
    container = {
        "name": part,
        "env": variables,
        "resources": {"requests": {"cpu": "20m"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"longshore-{part}"},
        "spec": {"template": {"spec": {"initContainers": [sidecar], "containers": [container]}}},
    }


@pytest.fixture
def there(cluster: str, overlay: Path) -> Iterator[Kubectl]:
    """The namespace of the installation, which is taken away again as the page says."""
    kubectl = Kubectl("longshore")
    if kubectl.run("get", "namespace", "longshore", "--ignore-not-found"):
        pytest.skip("the cluster has a namespace longshore already")
    try:
        kubectl.run("apply", "--kustomize", str(overlay))
        yield kubectl
    finally:
        kubectl.run("delete", "--kustomize", str(overlay), "--ignore-not-found", within=120)
    assert not kubectl.run("get", "namespace", "longshore", "--ignore-not-found")


def rolled_out(kubectl: Kubectl, part: str) -> None:
    """Wait until the newest pods of a part are the only ones."""
    name = f"deployment/longshore-{part}"
    kubectl.run("rollout", "status", name, "--timeout=120s", within=130)


def test_everything_is_replaced_under_load(there: Kubectl, behave: str, ledger: Ledger) -> None:
    for part in ("controller", "router"):
        rolled_out(there, part)
    assert base64.b64decode(there.get("secret", "longshore")["data"]["api-key"]).decode() == KEY
    installed = Installed(there, "longshore")
    before = installed.routers
    assert len(before) == 2, pods_tell(there)
    options = ("--min", "2", "--max", "2", "--env", ledger.option)
    installed.longshore("register", "behave", "1", behave, *options)
    for router in before:
        assert until(partial(installed.serves, router))
    # Each by a connection of its own, so that it is told anew where to go.
    headers = {"authorization": f"Bearer {KEY}", "connection": "close"}
    with (
        service(there, "longshore") as url,
        steady_load(url, ledger, headers=headers) as load,
    ):
        for part in ("router", "controller"):
            there.run("rollout", "restart", f"deployment/longshore-{part}")
            rolled_out(there, part)
        assert until(lambda: len(installed.routers) == 2, 60)
    assert not set(before) & set(installed.routers)
    load.assert_spotless()
    tell("routers and controllers are replaced", load.summary(), "ready throughout", 0)
