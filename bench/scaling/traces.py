"""Traces of load: requests a second, second by second; recorded beside this file as CSV.

They are made by ``python -m bench.scaling.traces``, always the same, so that what is in the
repository can be made again.
"""

import csv
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).with_name("traces")
LENGTH = 1800
"""Seconds of each."""

_SEED = 2026
_STEP_AT, _RAMP_AT, _SPIKE = 300, 120, range(600, 620)


def _step(second: int, _: random.Random) -> float:
    return 5 if second < _STEP_AT else 200


def _ramp(second: int, _: random.Random) -> float:
    return 5 + 245 * min(max(second - _RAMP_AT, 0) / 900, 1)


def _spike(second: int, _: random.Random) -> float:
    return 400 if second in _SPIKE else 20


def _sawtooth(second: int, _: random.Random) -> float:
    return 20 + 180 * (second % 180) / 180


def _on_off(second: int, _: random.Random) -> float:
    return 160 if second // 60 % 2 else 0


def _poisson(_: int, chance: random.Random) -> float:
    """Arrivals of a second around 60, which need just three replicas, or a few more, or fewer."""
    # By the times between arrivals, which are exponential.
    count, elapsed = 0, chance.expovariate(60)
    while elapsed < 1:
        count += 1
        elapsed += chance.expovariate(60)
    return count


SHAPES: Mapping[str, Callable[[int, random.Random], float]] = {
    "step": _step,
    "ramp": _ramp,
    "spike": _spike,
    "sawtooth": _sawtooth,
    "on-off": _on_off,
    "poisson": _poisson,
}


def made(name: str) -> list[float]:
    """Make a trace."""
    chance = random.Random(_SEED)  # noqa: S311 - noise, no secret
    return [round(SHAPES[name](second, chance), 3) for second in range(LENGTH)]


def read(name: str) -> list[float]:
    """Read a recorded trace."""
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return [float(row["requests_per_second"]) for row in csv.DictReader(file)]


def main() -> None:
    """Record all traces."""
    FOLDER.mkdir(exist_ok=True)
    for name in SHAPES:
        with (FOLDER / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["second", "requests_per_second"])
            rows.writerows(
                (second, int(rate) if rate == math.floor(rate) else rate)
                for second, rate in enumerate(made(name))
            )


if __name__ == "__main__":
    main()
