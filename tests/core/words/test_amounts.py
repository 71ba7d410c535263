"""Amounts of CPU and memory read the same in plans, in facts and in decisions."""

import pytest

from longshore.core.types import Confidence, Evidence
from longshore.core.words.decisions import in_words
from longshore.core.words.facts import fact_line
from longshore.core.words.node_facts import fact_summary
from longshore.core.words.plan import uses


@pytest.mark.parametrize(
    ("estimated", "measured", "told"),
    [
        (None, None, ""),
        (1200, None, "estimated 1.2 GiB"),
        (1200, 1350, "estimated 1.2 GiB; measured 1.3 GiB"),
        (1310, 1350, "estimated 1,310 MiB; measured 1,350 MiB"),
    ],
)
def test_what_is_used_is_told_beside_what_was_estimated(
    estimated: int | None, measured: int | None, told: str
) -> None:
    assert uses(estimated, measured) == told


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cpu_limit_millicores", 2000, "2 cores"),
        ("cpu_quota_millicores", 500, "0.5 cores"),
        ("cpu_quota_millicores", None, "none"),
        ("memory_limit_mib", 1536, "1.5 GiB"),
    ],
)
def test_limits_of_a_machine(name: str, value: int | None, told: str) -> None:
    fact = Evidence(value=value, source="a test", confidence=Confidence.EXACT)
    assert fact_summary(name, fact) == told


def test_what_was_measured_of_an_image() -> None:
    assert fact_line("memory_measured", 950) == "memory measured: 950 MiB"
    assert fact_line("gpu_memory_measured", 9216) == "GPU memory measured: 9 GiB of each GPU"


def test_what_came_of_a_decision() -> None:
    assert in_words({"memory_measured_mib": 91}) == "memory measured 91 MiB"
    assert in_words({"gpu_mem_floor_mib": 20480}) == "gpu mem floor 20 GiB"
