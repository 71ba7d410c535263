"""Amounts of CPU, memory and time: as people write them, kept in one spelling, and told."""

import math
import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator

DAY = 86_400
"""Seconds."""

_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,30})?)"
_CPU = re.compile(rf"{_NUMBER}(m?)")
_MEMORY = re.compile(rf"{_NUMBER}\s*(?:([kmgt])(i?))?b?", re.IGNORECASE)
# Far beyond any machine, and still exact wherever it is kept as a 64-bit number of bytes.
_MOST_MILLICORES = 10**9
_MOST_MEBIBYTES = 2**40
_TIME = re.compile(rf"{_NUMBER}\s*(s|m|min|h|d)?", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": DAY}
_POWER = {"k": 1, "m": 2, "g": 3, "t": 4}
_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_CORE = 1000
_SPANS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def millicores(text: str) -> int:
    """Return thousandths of a core for ``"0.5"`` (cores) or ``"500m"``.

    Raises:
        ValueError: it is neither, less than one millicore, or absurdly much.
    """
    match = _CPU.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no amount of CPU: write cores (0.5) or millicores (500m)")
    amount = int(Decimal(match[1]) * (1 if match[2] else 1000))
    if amount < 1:
        raise ValueError(f"{text!r} is less than one millicore of CPU")
    if amount > _MOST_MILLICORES:
        raise ValueError(f"{text!r} is more CPU than any machine has")
    return amount


def mebibytes(text: str) -> int:
    """Return whole mebibytes, rounded up, for ``"512Mi"``, ``"2G"`` or plain bytes.

    Raises:
        ValueError: it is none of these, less than one mebibyte, or absurdly much.
    """
    match = _MEMORY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no amount of memory: write it as 512Mi, 2Gi or 2G")
    base = 1024 if match[3] else 1000
    factor = base ** _POWER[match[2].lower()] if match[2] else 1
    amount = Decimal(match[1]) * factor / 2**20
    if amount < 1:
        # Whoever writes 512 hardly means bytes.
        raise ValueError(f"{text!r} is less than one mebibyte of memory: write it as 512Mi or 2Gi")
    if amount > _MOST_MEBIBYTES:
        raise ValueError(f"{text!r} is more memory than any machine has")
    return math.ceil(amount)


def seconds(text: str) -> float:
    """Return seconds for ``"90"``, ``"90s"``, ``"10m"``, ``"2h"`` or ``"1d"``.

    Raises:
        ValueError: it is no time.
    """
    return _time(text, 1)


def days(text: str) -> float:
    """Return days for ``"30"``, ``"30d"`` or ``"12h"``.

    Raises:
        ValueError: it is no time.
    """
    return _time(text, DAY)


def _time(text: str, unit: int) -> float:
    """Return a time in a unit, in which it is where it names none."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no time: write a number, or one with s, m, h or d (10m)")
    factor = _SECONDS[match[2].lower()] if match[2] else unit
    return float(Decimal(match[1]) * factor / unit)


def cores(amount: int) -> str:
    """Return millicores as people read them: ``"0.5 cores"``, ``"1 core"``, ``"2 cores"``."""
    return f"{amount / _CORE:g} core{'s' * (amount != _CORE)}"


def size(number: int) -> str:
    """Return bytes as people read them, in a unit that leaves few digits: ``"1.5 GiB"``."""
    for unit, length in _UNITS:
        if number >= length:
            return f"{number / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{number} B"


def duration(seconds: float) -> str:
    """Return seconds as people read them, in their largest unit: ``"30 days"``, ``"8.6 seconds"``.

    It is rounded down, so that what is short of a bound never reads like it.
    """
    tenths = max(0, int(seconds * 10))
    unit, length = next((each for each in _SPANS if tenths >= each[1] * 10), _SPANS[-1])
    number = tenths // length / 10
    return f"{number:g} {unit}{'s' * (number != 1)}"


def exactly(seconds: float) -> str:
    """Return seconds that somebody set, not rounded: ``"90 seconds"``, ``"10 minutes"``."""
    fits = ((unit, length) for unit, length in _SPANS[:-1] if seconds >= length)
    unit, length = next((each for each in fits if not seconds % each[1]), _SPANS[-1])
    number = f"{seconds / length:.3f}".rstrip("0").rstrip(".")
    return f"{number} {unit}{'s' * (number != '1')}"


def memory(mib: int) -> str:
    """Return mebibytes as people read them: ``"512 MiB"``, ``"1.5 GiB"``."""
    return size(mib << 20)


def memories(*mib: int | None) -> tuple[str, ...]:
    """Return amounts that stand beside each other, so that different ones never read alike.

    Args:
        mib: mebibytes; None is told as nothing.
    """
    known = {each for each in mib if each is not None}
    alike = len({memory(each) for each in known}) < len(known)
    return tuple("" if each is None else f"{each:,} MiB" if alike else memory(each) for each in mib)


def _canonical_cpu(value: object) -> object:
    return value if value is None else f"{millicores(_text(value))}m"


def _canonical_memory(value: object) -> object:
    return value if value is None else f"{mebibytes(_text(value))}Mi"


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is no amount: write a number with its unit")
    return str(value)


Cpu = Annotated[str, BeforeValidator(_canonical_cpu)]
"""CPU as ``"500m"``; accepts cores (``0.5``, ``"2"``) too."""

Memory = Annotated[str, BeforeValidator(_canonical_memory)]
"""Memory as ``"512Mi"``; accepts bytes, ``"2G"``, ``"2Gi"`` too, rounded up to mebibytes."""
