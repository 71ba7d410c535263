from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from parts.crewed import Crewed, crewed


@pytest.fixture
async def router(state: Path) -> AsyncIterator[Crewed]:
    """A router with two workers."""
    async with crewed(state) as running:
        yield running
