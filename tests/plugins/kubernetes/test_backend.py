"""What the backend promises on a real cluster."""

import pytest
from parts.promises import BackendPromises

pytestmark = pytest.mark.kubernetes


class TestPromises(BackendPromises):
    """Those of every backend."""
