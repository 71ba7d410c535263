from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli
from parts.installed import Ways, ways_here
from parts.kubectl import Kubectl
from parts.platform import Up, on_cluster
from parts.postgres import Postgres
from parts.steady_load import Ledger


@pytest.fixture
def plugins() -> str:
    """What stands in plugins.toml; a module may have a text of its own."""
    return ""


@pytest.fixture
def up(tmp_path: Path, engine_cli: EngineCli, plugins: str) -> Iterator[Up]:
    """A running platform on the real engine, with the built-in defaults and ``plugins``."""
    if plugins:
        (tmp_path / "plugins.toml").write_text(plugins)
    platform = Up(tmp_path, engine_cli)
    try:
        platform.start()
        yield platform
    finally:
        platform.clean_up()


@pytest.fixture
def kubernetes_up(tmp_path: Path, engine_cli: EngineCli, kubectl: Kubectl) -> Iterator[Up]:
    """A platform whose only backend is the cluster."""
    on_cluster(tmp_path, kubectl.namespace)
    up = Up(tmp_path, engine_cli)
    try:
        up.start()
        yield up
    finally:
        up.clean_up()


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Who hears from models which requests they got."""
    with Ledger() as opened:
        yield opened


@pytest.fixture
def ways(cluster: str, postgres: Postgres, registry: str) -> Iterator[Ways]:
    """How pods come to what listens on this machine alone."""
    with ways_here(postgres, registry) as open_ways:
        yield open_ways
