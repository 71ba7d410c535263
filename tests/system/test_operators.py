"""What docs/operators.md says, word for word, on a real cluster."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.blocks import REPOSITORY, blocks
from engine_cli import EngineCli
from parts.kubectl import Kubectl
from parts.platform import Up

pytestmark = pytest.mark.kubernetes

PAGE = REPOSITORY / "docs" / "operators.md"
SET_UP = """\
kubectl create namespace longshore
kubectl apply --filename deploy/kubernetes/rights.yaml
kubectl config set-credentials longshore --token "$(kubectl create token longshore --namespace longshore --duration 24h)"
kubectl config set-context longshore --user longshore --cluster "$(kubectl config view --minify --output 'jsonpath={.contexts[0].context.cluster}')"
"""  # noqa: E501 - as it stands there
METRICS = """\
kubectl create rolebinding longshore-metrics --namespace kube-system --role extension-apiserver-authentication-reader --serviceaccount longshore:longshore
"""  # noqa: E501 - as it stands there
RESTORE = """\
longshore restore --plan
longshore restore
"""
# And last: longshore up


@pytest.fixture
def kubeconfig(cluster: str, tmp_path: Path) -> Iterator[Path]:
    """A copy, for the page adds to it."""
    copy = tmp_path / "kubeconfig"
    shutil.copy(cluster, copy)
    kubectl = Kubectl("longshore")
    if kubectl.run("get", "namespace", "longshore", "--ignore-not-found"):
        pytest.skip("the cluster has a namespace longshore, which the page makes")
    yield copy
    kubectl.run("delete", "namespace", "longshore", "--ignore-not-found")
    kubectl.run("delete", "clusterrole,clusterrolebinding", "longshore", "--ignore-not-found")
    there = Kubectl("kube-system")
    there.run("delete", "rolebinding", "longshore-metrics", "--ignore-not-found")


def test_the_page_leads_to_a_prediction(
    kubeconfig: Path, tmp_path: Path, engine_cli: EngineCli, behave: str
) -> None:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    for commands in (SET_UP, METRICS):
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=REPOSITORY,
            env=environment,
            check=True,
            timeout=60,
        )
    (tmp_path / "plugins.toml").write_text(blocks(PAGE, "toml")[0].text)
    up = Up(tmp_path, engine_cli, environment=environment)
    try:
        up.start()
        up.run("register", "behave", "1", behave)
        assert up.predict("hello").text == "hello"
        for command in RESTORE.splitlines():
            shown = up.run(*command.split()[1:])
            assert shown.stdout == "Everything runs that should.\n"
        up.run("delete", "behave:1")
    finally:
        up.clean_up()
