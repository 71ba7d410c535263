"""Any code for GPUs, and which GPUs run it by NVIDIA's words: a second opinion on the rules."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from hypothesis import strategies as st
from parts.hardware import EXACT

CAPABILITIES = tuple(product(range(5, 14), range(10)))
"""Compute capabilities, those of no GPU among them."""

_TARGETS = st.builds(
    "{}{}{}".format, st.integers(5, 12), st.integers(0, 9), st.sampled_from(("", "", "a", "f"))
)
CODE = st.tuples(st.lists(_TARGETS, max_size=4), st.lists(_TARGETS, max_size=2)).filter(any)
"""Targets of machine code, and of PTX."""


def facts_of(sass: list[str], ptx: list[str]) -> dict[str, Any]:
    """Return what inspection tells of an image with this code."""
    told = {"sm_sass": sass, "sm_ptx": ptx}
    return {name: ({"x": held}, EXACT) for name, held in told.items() if held}


def running(sass: list[str], ptx: list[str]) -> set[tuple[int, int]]:
    """Return the compute capabilities of the GPUs that run this code."""
    return {
        *(each for text in sass for each in _of_its_generation(text)),
        *(each for text in ptx for each in _compiled(text)),
    }


def _of_its_generation(text: str) -> Iterator[tuple[int, int]]:
    digits = text.rstrip("af")
    major, minor = int(digits[:-1]), int(digits[-1])
    yield from (
        each
        for each in CAPABILITIES
        if each[0] == major and (each[1] == minor if text.endswith("a") else each[1] >= minor)
    )


def _compiled(text: str) -> Iterator[tuple[int, int]]:
    if text[-1] in "af":
        yield from _of_its_generation(text)
    else:
        yield from (each for each in CAPABILITIES if each >= (int(text[:-1]), int(text[-1])))
