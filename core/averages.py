"""Averages of what routers observe: the load of a moment says little about how many are needed."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from longshore.core.types import Load

if TYPE_CHECKING:
    from longshore.core.names import VersionKey

RECENT = 3.0
AVERAGE = 60.0
"""Seconds over which ``Load.recent`` and ``Load.average`` are taken."""

MOST_SAMPLES = 240
"""Per version; enough for samples a quarter of a second apart."""


class Average:
    """The demand for one version over the last minute: requests in flight and held.

    A sample holds until the next one, so that samples at uneven times are weighed by how long they
    were true.
    """

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=MOST_SAMPLES)

    def add(self, demand: int, now: float) -> None:
        """Take a sample.

        Args:
            demand: requests in flight and held.
            now: seconds of a clock that never goes back.
        """
        self._samples.append((now, demand))
        # The one before the window's beginning says what held then.
        while len(self._samples) > 1 and self._samples[1][0] <= now - AVERAGE:
            self._samples.popleft()

    def over(self, seconds: float, now: float) -> float:
        """Return the average over the last seconds, or since the first sample; 0 without any.

        Args:
            seconds: at most ``AVERAGE``.
            now: as in ``add``.
        """
        area = weight = 0.0
        until = now
        for at, demand in reversed(self._samples):
            began = max(at, now - seconds)
            area += demand * (until - began)
            weight += until - began
            until = began
            if at <= now - seconds:
                break
        if weight:
            return area / weight
        return float(self._samples[-1][1]) if self._samples else 0.0


class Averages:
    """The averages of many versions."""

    def __init__(self) -> None:
        self._of: dict[VersionKey, Average] = {}

    def sample(self, loads: Iterable[Load], now: float) -> None:
        """Take a sample of each load; versions that are not among them are forgotten."""
        known, self._of = self._of, {}
        for load in loads:
            average = self._of[load.key] = known.get(load.key) or Average()
            average.add(load.in_flight + load.held, now)

    def told(self, load: Load, now: float) -> Load:
        """Return a load with its averages, its own moment included."""
        average = self._of.setdefault(load.key, Average())
        average.add(load.in_flight + load.held, now)
        return load.model_copy(
            update={"recent": average.over(RECENT, now), "average": average.over(AVERAGE, now)}
        )
