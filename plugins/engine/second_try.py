"""The second try of a container: with a writable root file system, where it failed without.

What needs one is remembered by this process alone; another one finds out by trying, too.
"""

import logging
from collections.abc import Callable, Coroutine

from longshore.core.backends.writable import AS_REGISTERED, NEEDS_WRITABLE_ROOT
from longshore.core.errors import LongshoreError
from longshore.core.names import VersionKey
from longshore.core.types import Workload
from longshore.plugins.engine.replicas import Known
from longshore.plugins.engine.wire import EngineError

log = logging.getLogger(__name__)

Going = Coroutine[None, None, None]


class SecondTries:
    """Remembers what was applied, and replaces its containers that turn out to need more.

    Args:
        replace: starts a container of a workload in the place of another, given by its id; if that
            is gone, it returns silently.
        leads: whether this process may replace containers.
        spawn: does something in the background, under a name.
        changed: called when a second try has come to its end.
    """

    def __init__(
        self,
        *,
        replace: Callable[[str, Workload], Going],
        leads: Callable[[], bool],
        spawn: Callable[[Going, str], None],
        changed: Callable[[], None],
    ) -> None:
        self._replace = replace
        self._leads = leads
        self._spawn = spawn
        self._changed = changed
        self._workloads: dict[VersionKey, Workload] = {}
        self._needing: set[str] = set()
        """Fingerprints."""

    def remember(self, workload: Workload) -> None:
        """Learn what is applied, before any container of it can fail."""
        self._workloads[workload.key] = workload

    def forget(self, key: VersionKey) -> None:
        """Let go of a version that is deleted, and of what it turned out to need."""
        if workload := self._workloads.pop(key, None):
            self._needing.discard(workload.fingerprint)

    def why_writable(self, workload: Workload) -> str:
        """Return why the root file system of its containers is to be writable; empty: it is not."""
        if workload.writable_root:
            return AS_REGISTERED
        return NEEDS_WRITABLE_ROOT if workload.fingerprint in self._needing else ""

    def take(self, known: Known) -> bool:
        """Replace a container that needs a writable root, if we know what it was made of.

        Returns:
            Whether it will be replaced; that happens in the background.
        """
        container = known.container
        workload = self._workloads.get(container.key)
        known_here = workload is not None and workload.fingerprint == container.fingerprint
        if workload is None or not known_here or not self._leads():
            return False
        self._needing.add(container.fingerprint)
        log.warning("%s: starting it again with a writable root file system", container.name)
        self._spawn(self._try(known, workload), f"writable root for {container.name}")
        return True

    async def _try(self, known: Known, workload: Workload) -> None:
        try:
            await self._replace(known.container.id, workload)
        except (LongshoreError, EngineError) as error:
            known.end = f"{known.end}; a start with a writable root failed: {error.message}"
        finally:
            known.reviving = False
            self._changed()
