"""Five seconds of fuzzing at each run; ``make fuzz`` does more."""

from collections.abc import Callable

import pytest
from fuzz import layers, targets
from fuzz.run import run, seeds


@pytest.mark.parametrize("target", [*targets.TARGETS, *layers.TARGETS])
def test_the_corpus_itself(target: Callable[[bytes], None]) -> None:
    for each in (*seeds(), *layers.seeds()):
        target(each)


def test_five_seconds() -> None:
    # The same inputs each time: luck must not decide about a change. ``make fuzz`` draws new ones.
    assert run(5, seed=1) > 1000
