"""A machine of its own for each test that loads plugins."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.plugin_machine import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    monkeypatch.syspath_prepend(str(machine.site))
    yield machine
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
