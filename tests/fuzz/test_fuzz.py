"""Five seconds of fuzzing at each run; ``make fuzz`` does more."""

from collections.abc import Callable

import pytest
from fuzz.run import run, seeds
from fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_itself(target: Callable[[bytes], None]) -> None:
    for each in seeds():
        target(each)


def test_five_seconds() -> None:
    # The same inputs each time: luck must not decide about a change. ``make fuzz`` draws new ones.
    assert run(5, seed=1) > 1000
