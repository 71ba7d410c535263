import shutil
import subprocess
from typing import Any

import pytest
from parts.helm import REPOSITORY, HelmMissing, find_helm

NEEDED: dict[str, Any] = {
    "image": {"repository": "registry.example.com/longshore"},
    "database": {"url": "postgresql://longshore:a-secret@db.example.com/longshore"},
}


@pytest.fixture
def needed() -> dict[str, Any]:
    """The values without which the chart is not installed."""
    try:
        find_helm()
    except HelmMissing as missing:
        pytest.skip(str(missing))
    return {name: dict(value) for name, value in NEEDED.items()}


@pytest.fixture
def kustomized() -> str:
    """What ``kubectl apply -k`` would send."""
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    command = ["kubectl", "kustomize", str(REPOSITORY / "deploy" / "kubernetes")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
