"""A version that answers and its shadow, for each test, behind a router of its own."""

from functools import partial

import pytest
from parts.routed import Routed
from parts.shadowed import Make, shadowed


@pytest.fixture
def pair(router: Routed) -> Make:
    """Make a pair of a router with the usual bounds."""
    return partial(shadowed, router)
