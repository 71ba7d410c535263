"""Which code runs on which GPU, and how nodes list processors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.hardware import T4, node

from longshore.core.gpus import driver_of, runs_on
from longshore.core.numa import cpu_list, cpu_numbers
from longshore.core.types import GpuCode


@pytest.mark.parametrize(
    ("sass", "ptx", "capability", "runs"),
    [
        (("80",), (), (8, 0), True),
        (("80",), (), (8, 9), True),
        (("86",), (), (8, 0), False),
        (("80",), (), (9, 0), False),
        (("90",), (), (8, 0), False),
        (("90a",), (), (9, 0), True),
        (("120a",), (), (12, 1), False),
        (("100f",), (), (10, 3), True),
        (("100f",), (), (12, 0), False),
        ((), ("80",), (8, 0), True),
        ((), ("80",), (12, 0), True),
        ((), ("86",), (8, 0), False),
        ((), ("90a",), (10, 0), False),
        ((), ("100f",), (12, 0), False),
        (("75",), ("90",), (10, 0), True),
        (("odd",), ("",), (8, 0), False),
    ],
)
def test_code_runs_on_a_set_of_gpus_and_not_from_a_minimum_on(
    sass: tuple[str, ...], ptx: tuple[str, ...], capability: tuple[int, int], runs: bool
) -> None:
    assert runs_on(GpuCode(owner="x", sass=sass, ptx=ptx), capability) is runs


@pytest.mark.parametrize(
    ("told", "major"), [("580.65.06", 580), ("535", 535), ("", None), ("new", None)]
)
def test_the_drivers_major_version(told: str, major: int | None) -> None:
    assert driver_of(node(T4, driver=told)) == major
    assert driver_of(node()) is None


def test_cpus_as_linux_lists_them() -> None:
    assert cpu_numbers("0-3,8,10-11") == {0, 1, 2, 3, 8, 10, 11}
    assert cpu_numbers("") == frozenset()
    assert cpu_numbers([1, 2]) == {1, 2}
    assert cpu_list([3, 1, 2, 8, 2]) == "1-3,8"
    with pytest.raises(ValueError, match="invalid literal"):
        cpu_numbers("a-b")


@given(st.frozensets(st.integers(0, 500)))
def test_a_list_of_cpus_is_read_as_it_was_written(numbers: frozenset[int]) -> None:
    assert cpu_numbers(cpu_list(numbers)) == numbers
