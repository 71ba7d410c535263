"""What is kept of a version that sleeps: one container, frozen, which its next wake goes on with.

Which one that is stands in its name (``containers.KEPT``). One that is kept and not frozen, because
something was cut off, the engine was started anew, or nothing is to be frozen any more, is removed.
"""

import logging
from collections.abc import Sequence

from longshore.plugins.engine.containers import Listed
from longshore.plugins.engine.replicas import Replicas
from longshore.plugins.engine.wire import EngineError

log = logging.getLogger(__name__)


async def freeze_one(replicas: Replicas, mine: Sequence[Listed]) -> Listed | None:
    """Freeze the best container of a version, if one is ready; one that is frozen stays so.

    Args:
        replicas: all containers of the installation.
        mine: those of the version.

    Returns:
        What is kept; None where nothing is worth it, or the engine cannot freeze.
    """
    for each in mine:
        if each.kept and each.frozen:
            return each
    # One that was not ready yet would go on with its start in the midst of the next wake.
    ready = [each for each in mine if not each.kept and not each.frozen and replicas.is_ready(each)]
    for best in replicas.best_first(ready, ())[:1]:
        try:
            await replicas.freeze(best)
        except EngineError as error:
            log.warning("%s is removed, not frozen: %s", best.name, error.message)
        else:
            return best
    return None


def to_rouse(mine: Sequence[Listed], fingerprint: str) -> list[Listed]:
    """Return what is kept of a version, as it should run now."""
    return [each for each in mine if each.kept and each.frozen and each.fingerprint == fingerprint]


def to_discard(kept: Sequence[Listed], *, freezes: bool) -> list[Listed]:
    """Return what is kept in vain.

    Args:
        kept: all that is kept.
        freezes: whether versions that sleep are to be frozen.
    """
    return [each for each in kept if not (freezes and each.frozen)]
