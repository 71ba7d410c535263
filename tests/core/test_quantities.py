import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from longshore.core.quantities import (
    Cpu,
    Memory,
    cores,
    days,
    duration,
    exactly,
    mebibytes,
    memories,
    memory,
    millicores,
    seconds,
    size,
)
from longshore.core.types import Resources

CPU = TypeAdapter[str](Cpu)
MEMORY = TypeAdapter[str](Memory)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1", "1000m"),
        ("0.5", "500m"),
        (" 2 ", "2000m"),
        ("500m", "500m"),
        (2, "2000m"),
        (0.25, "250m"),
        (0.1 + 0.2, "300m"),
        (1 / 3, "333m"),
        ("0.001", "1m"),
    ],
)
def test_cpu_is_kept_in_millicores(written: object, canonical: str) -> None:
    assert CPU.validate_python(written) == canonical


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("512Mi", "512Mi"),
        ("512 MiB", "512Mi"),
        ("2Gi", "2048Mi"),
        ("2G", "1908Mi"),
        ("2gb", "1908Mi"),
        ("1.5Gi", "1536Mi"),
        ("1Ti", "1048576Mi"),
        ("2000Ki", "2Mi"),
        (1 << 30, "1024Mi"),
        ("1048577", "2Mi"),
    ],
)
def test_memory_is_kept_in_mebibytes_rounded_up(written: object, canonical: str) -> None:
    assert MEMORY.validate_python(written) == canonical


@pytest.mark.parametrize(
    "written",
    [
        "",
        "m",
        "-1",
        "1e3",
        "1,5",
        "two",
        "0",
        "0m",
        "0.0001",
        "1M",
        "1 m",
        "\u0663",
        "1" * 16,
        True,
        [1],
        {},
    ],
)
def test_what_is_no_amount_of_cpu_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        CPU.validate_python(written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Mi",
        "-1Mi",
        "1e9",
        "1,5Gi",
        "0",
        "0Gi",
        "1Pi",
        "1 G i",
        "\u0663Gi",
        "9" * 5000,
        False,
        [1],
        {},
    ],
)
def test_what_is_no_amount_of_memory_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        MEMORY.validate_python(written)


@pytest.mark.parametrize("written", ["512", 512, "900k", "0.5Mi"])
def test_a_forgotten_unit_is_not_taken_for_bytes(written: object) -> None:
    with pytest.raises(ValidationError, match="write it as 512Mi or 2Gi"):
        MEMORY.validate_python(written)


def test_what_no_machine_has_is_refused() -> None:
    with pytest.raises(ValueError, match="'1000001' is more CPU than any machine has"):
        millicores("1000001")
    with pytest.raises(ValueError, match="'2000000Ti' is more memory than any machine has"):
        mebibytes("2000000Ti")


def test_messages_say_how_to_write_it() -> None:
    with pytest.raises(ValueError, match=r"'two' is no amount of CPU: write cores \(0.5\) or"):
        millicores("two")
    with pytest.raises(ValueError, match="'two' is no amount of memory: write it as 512Mi, 2Gi"):
        mebibytes("two")


def test_nothing_asked_for_stays_nothing() -> None:
    free = Resources(cpu=None, memory=None)
    assert (free.cpu_millicores, free.memory_mib) == (None, None)


decimals = st.decimals(min_value=0, max_value=10**9, places=3).map(str)


@given(decimals, st.sampled_from(["", "m"]))
def test_the_canonical_cpu_means_itself(number: str, unit: str) -> None:
    try:
        once = CPU.validate_python(number + unit)
    except ValidationError:
        assert not 1 <= Fraction(number) * (1 if unit else 1000) <= 10**9
        return
    assert CPU.validate_python(once) == once
    assert millicores(once) == math.floor(Fraction(number) * (1 if unit else 1000))


@given(decimals, st.sampled_from(["k", "M", "g", "T"]), st.sampled_from(["", "i"]))
def test_the_canonical_memory_means_itself_and_is_never_less_than_asked(
    number: str, unit: str, binary: str
) -> None:
    factor = (1024 if binary else 1000) ** ("kmgt".index(unit.lower()) + 1)
    asked = Fraction(number) * factor / 2**20
    try:
        once = MEMORY.validate_python(f"{number}{unit}{binary}")
    except ValidationError:
        assert not 1 <= asked <= 2**40
        return
    assert MEMORY.validate_python(once) == once
    assert mebibytes(once) == math.ceil(asked)


@given(st.text(max_size=30) | st.integers() | st.floats())
def test_anything_is_either_an_amount_or_refused(written: object) -> None:
    for adapter in (CPU, MEMORY):
        try:
            once = adapter.validate_python(written)
        except ValidationError:
            continue
        assert adapter.validate_python(once) == once


# --- told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (1, "0.001 cores"),
        (500, "0.5 cores"),
        (1000, "1 core"),
        (1500, "1.5 cores"),
        (2000, "2 cores"),
        (128_000, "128 cores"),
    ],
)
def test_cpu_is_told_in_cores(amount: int, told: str) -> None:
    assert cores(amount) == told


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 << 20, "64 MiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (3 << 29, "1.5 GiB"),
        (80 << 30, "80 GiB"),
        (1 << 40, "1 TiB"),
    ],
)
def test_bytes_are_told_in_a_unit_that_leaves_few_digits(number: int, told: str) -> None:
    assert size(number) == told


def test_memory_is_told_in_the_same_way() -> None:
    assert (memory(512), memory(1536), memory(20480)) == ("512 MiB", "1.5 GiB", "20 GiB")


def test_amounts_beside_each_other_read_alike_only_where_they_are() -> None:
    assert memories(9000, 8192) == ("8.8 GiB", "8 GiB")
    assert memories(20480, 20470) == ("20,480 MiB", "20,470 MiB")
    assert memories(2048, 2048) == ("2 GiB", "2 GiB")
    assert memories(None, 512, None) == ("", "512 MiB", "")


@given(st.lists(st.integers(0, 2**40), max_size=5))
def test_no_two_amounts_that_differ_are_told_alike(amounts: list[int]) -> None:
    assert len(set(memories(*amounts))) == len(set(amounts))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 seconds"),
        (0.04, "0 seconds"),
        (1, "1 second"),
        (8.64, "8.6 seconds"),
        (59.99, "59.9 seconds"),
        (90, "1.5 minutes"),
        (3600, "1 hour"),
        (8640, "2.4 hours"),
        (86399, "23.9 hours"),
        (30 * 86400, "30 days"),
        (30 * 86400 - 1, "29.9 days"),
    ],
)
def test_durations_are_told_in_their_largest_unit(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("90", 90),
        ("1.5", 1.5),
        (" 90 s ", 90),
        ("10m", 600),
        ("10min", 600),
        ("2H", 7200),
        ("1.5d", 129_600),
        ("0", 0),
    ],
)
def test_a_time_is_read_in_seconds_or_in_the_unit_that_it_names(
    written: str, number: float
) -> None:
    assert seconds(written) == number


def test_a_time_in_days_is_one_where_it_names_no_unit() -> None:
    assert (days("30"), days("30d"), days("12h")) == (30, 30, 0.5)


@pytest.mark.parametrize("written", ["", "-1", "m", "10 weeks", "nan", "inf", "1h30m", "1" * 20])
def test_what_is_no_time_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        seconds(written)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, "0 seconds"),
        (0.25, "0.25 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (600, "10 minutes"),
        (3600, "1 hour"),
        (129_600, "36 hours"),
        (2_592_000, "30 days"),
    ],
)
def test_a_time_that_was_set_is_told_without_rounding(number: float, told: str) -> None:
    assert exactly(number) == told
