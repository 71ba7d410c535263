from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_cli import EngineCli
from parts.platform import Up


@pytest.fixture
def up(tmp_path: Path, engine_cli: EngineCli) -> Iterator[Up]:
    """A running platform on the real engine, with the built-in defaults."""
    platform = Up(tmp_path, engine_cli)
    try:
        platform.start()
        yield platform
    finally:
        platform.clean_up()
