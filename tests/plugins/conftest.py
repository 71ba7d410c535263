"""The image whose behaviour its environment sets, for backends to run."""

import pytest
from parts.backends import IRIS, Build, pinned

from longshore.core.types import Workload

pytest.register_assert_rewrite("parts.promises")


@pytest.fixture(scope="session")
def behave_pinned(behave: str) -> str:
    return pinned(behave)


@pytest.fixture
def workload(behave_pinned: str) -> Build:
    def build(**fields: object) -> Workload:
        return Workload.model_validate(
            {
                "key": IRIS,
                "image": behave_pinned,
                "replicas": 1,
                "port": 8080,
                "health_path": "/health",
                "health_required": True,
                **fields,
            }
        )

    return build
