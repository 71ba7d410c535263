"""The plugin's door."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from longshore.core.errors import StartRefused, Unavailable
from longshore.core.settings import Settings
from longshore.core.types import Node
from longshore.plugins.kubernetes import Plugin
from longshore.plugins.kubernetes.settings import KubernetesSettings


async def test_backend_before_it_is_open(tmp_path: Path) -> None:
    backend = Plugin(KubernetesSettings()).longshore_backend(Settings(state=tmp_path))
    assert backend.name == "kubernetes"
    assert backend.describe() == "no cluster yet"
    with pytest.raises(Unavailable):
        await backend.list()
    await backend.close(stop_workloads=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"kubeconf": "x"},
        {"namespace": "Not A Label"},
        {"router_networks": ["10.0.0.5/8"]},
        {"run_as": 0},
        {"metrics_port": 8443},
    ],
)
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KubernetesSettings.model_validate(settings)


def test_it_knows_nothing_of_nodes_of_others(tmp_path: Path) -> None:
    plugin = Plugin(KubernetesSettings(gpu_allocation="dra"))
    node = Node(name="a", architecture="amd64", cpu_millicores=1, memory_mib=1)
    assert plugin.longshore_profile_node(node) is None
    plugin.longshore_backend(Settings(state=tmp_path))
    assert plugin.longshore_profile_node(node) is None


def test_the_plugin_alone_imports_no_client() -> None:
    code = (
        "import sys, longshore.plugins.kubernetes;"
        "sys.exit(bool({'kubernetes', 'aiohttp', 'yaml'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_client_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [each for each in sys.modules if each.startswith("longshore.plugins.kubernetes.")]:
        monkeypatch.delitem(sys.modules, name)
    # None there is how Python is told that there is no such module.
    monkeypatch.setitem(sys.modules, "kubernetes.aio.client", None)
    with pytest.raises(StartRefused) as refused:
        Plugin(KubernetesSettings()).longshore_backend(Settings(state=tmp_path))
    assert "the plugin kubernetes needs the official client" in refused.value.message
    assert refused.value.hint == "Install it: pip install 'longshore[kubernetes]'"
