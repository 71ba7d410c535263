"""The plugin's door."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from longshore.core.errors import Unavailable
from longshore.core.settings import Settings
from longshore.plugins.engine import EngineSettings, Plugin


async def test_backend_before_it_is_open(tmp_path: Path) -> None:
    backend = Plugin(EngineSettings()).longshore_backend(Settings(state=tmp_path))
    assert backend.name == "engine"
    assert backend.describe() == "no container engine yet"
    with pytest.raises(Unavailable):
        await backend.list()
    await backend.close(stop_workloads=True)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        EngineSettings.model_validate({"sockets": "/run/docker.sock"})


def test_the_plugin_alone_imports_no_client() -> None:
    code = "import sys, longshore.plugins.engine; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
