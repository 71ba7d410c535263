"""Each request goes to the replica with the fewest in flight; equals take turns."""

from collections.abc import Sequence

from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Balancer, C


class LeastInFlight:
    """Balances one version."""

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, candidates: Sequence[C]) -> C:
        """Return the least busy candidate, beginning to look after the one picked last."""
        count = len(candidates)
        picked = self._turn % count
        least = candidates[picked].in_flight
        # Up to the end by negative positions, then on from the beginning.
        for position in range(picked + 1 - count, picked):
            if least == 0:
                break
            in_flight = candidates[position].in_flight
            if in_flight < least:
                picked, least = position, in_flight
        self._turn = picked + 1
        return candidates[picked]


@hookimpl(trylast=True)
def longshore_balancer() -> Balancer:
    """Return a balancer for one version."""
    return LeastInFlight()
