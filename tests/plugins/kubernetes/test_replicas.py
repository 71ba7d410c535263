"""What is read of real pods, as an API server described them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from longshore.plugins.kubernetes.replicas import started_at

RECORDED = Path(__file__).with_name("recorded")


@pytest.mark.parametrize(
    ("name", "started"),
    [
        ("ready", datetime(2026, 11, 24, 6, 38, 34, tzinfo=UTC)),
        # Their nodes know of them, and have no image for them.
        ("noimage", None),
        ("noregistry", None),
        ("nofit", None),
    ],
)
def test_a_pod_has_started_when_its_container_has(name: str, started: datetime | None) -> None:
    pod = json.loads((RECORDED / f"{name}.json").read_text())["pod"]
    assert started_at(pod) == started
