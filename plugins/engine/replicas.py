"""What is known of our containers: read from the engine, completed by probes and diagnoses."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import aiohttp

from longshore.core.backends.causes import is_read_only_error
from longshore.core.backends.lines import Line, tail_of
from longshore.core.backends.writable import AS_REGISTERED
from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.types import Progress, Replica, ReplicaState, WorkloadStatus, utc_now
from longshore.plugins.engine.client import Client
from longshore.plugins.engine.containers import (
    KEPT,
    OWNER,
    STOP_GRACE,
    Container,
    Listed,
    container_name,
    key_labels,
    parse_container,
    parse_listed,
)
from longshore.plugins.engine.diagnose import why_exited
from longshore.plugins.engine.kernel import ignores, oom_killed
from longshore.plugins.engine.logs import past
from longshore.plugins.engine.probe import Health, Probe
from longshore.plugins.engine.wire import EngineError

if TYPE_CHECKING:
    from datetime import datetime

log = logging.getLogger(__name__)

LINES_READ = 200
"""Log lines in which the cause of an exit is looked for; fewer are shown."""

FROZEN = "frozen for its next wake, with its memory kept"
"""What a version is whose container is kept."""

GOES_ON_WITHIN = 30.0
"""Seconds until a container that was frozen must answer again; one that cannot is replaced."""

_KILLED = 137


@dataclass(slots=True)
class Known:
    """One container and what became of it."""

    container: Container
    look: tuple[str, int | None]
    """How the engine listed it when it was inspected."""
    probe: Probe | None = None
    """While it runs."""
    given_up: str = ""
    """Why we stopped it ourselves."""
    end: str = ""
    """Why it exited."""
    log_tail: tuple[str, ...] = ()
    wants_writable_root: bool = False
    """It failed to start because it wrote to its read-only root file system."""
    reviving: bool = False
    """Another container is about to take its place, so it does not count as exited."""

    @property
    def health(self) -> Health:
        """What probing found; starting where there is no probe."""
        return self.probe.health if self.probe else Health()


class Replicas:
    """All containers of one installation.

    Args:
        client: the engine.
        owner: id of the installation.
        changed: called when a probe finds something new.
        revive: given a container that wants a writable root; returns whether it will be replaced.
        leads: whether this process may stop containers; another one does otherwise.
    """

    def __init__(
        self,
        client: Client,
        owner: str,
        *,
        changed: Callable[[], None],
        revive: Callable[[Known], bool],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._owner = owner
        self._changed = changed
        self._revive = revive
        self._leads = leads
        self._known: dict[str, Known] = {}
        self._listed: Sequence[Listed] = ()
        self.kept: Sequence[Listed] = ()
        """What was kept asleep as of the last refresh."""
        self._roused: dict[str, datetime] = {}
        """When containers that were frozen went on; for the engine they started long before."""
        self._removed: set[str] = set()
        """What is removed, or just being: a look that began before must not bring it back."""
        self._refreshing = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "longshore"},
        )

    async def close(self) -> None:
        """Stop all probes."""
        for container in list(self._known):
            self._forget(container)
        await self._session.close()

    async def listed(self, key: VersionKey | None = None) -> list[Listed]:
        """Return what the engine has of ours now, of one version or of all."""
        labels = key_labels(self._owner, key) if key else {OWNER: self._owner}
        found = await self._client.containers(labels)
        parsed = [parse_listed(each) for each in found]
        return [each for each in parsed if each and each.status != "removing"]

    async def refresh(self) -> None:
        """Look at all containers with one call, and closely at those that are new or changed."""
        async with self._refreshing:
            found = await self.listed()
            self._removed &= {each.id for each in found}
            everything = [each for each in found if each.id not in self._removed]
            self.kept = [each for each in everything if each.kept]
            self._listed = [each for each in everything if not each.kept]
            present = {each.id for each in self._listed}
            for gone in self._roused.keys() - {each.id for each in everything}:
                del self._roused[gone]
            for gone in self._known.keys() - present:
                self._forget(gone)
            looks = (self._look(each) for each in self._listed if self._is_news(each))
            await asyncio.gather(*looks)
            untold = [
                each for each in self._known.values() if each.health.hopeless and not each.log_tail
            ]
            await asyncio.gather(*(self._read_tail(each) for each in untold))

    def statuses(
        self, applying: Mapping[VersionKey, tuple[str, Progress | None]]
    ) -> list[WorkloadStatus]:
        """Return everything as of the last refresh, replicas oldest first.

        Args:
            applying: versions that are being applied: fingerprint and progress.
        """
        kept = Counter(each.key for each in self.kept)
        by_key: dict[VersionKey, list[Known]] = {each.key: [] for each in self._listed}
        for known in sorted(self._known.values(), key=_age):
            by_key.setdefault(known.container.key, []).append(known)
        statuses = []
        for key in by_key | kept | dict.fromkeys(applying):
            fingerprint, progress = applying.get(key, ("", None))
            mine = by_key.get(key, [])
            if mine:
                # More than one is nobody's wish, and must look so.
                fingerprint = "+".join(sorted({each.container.fingerprint for each in mine}))
            statuses.append(
                WorkloadStatus(
                    key=key,
                    fingerprint=fingerprint,
                    replicas=tuple(_replica(each) for each in mine),
                    progress=progress,
                    note=FROZEN if kept[key] and not mine else "",
                    kept=kept[key],
                )
            )
        return statuses

    def best_first(self, listed: Sequence[Listed], retire: Sequence[str]) -> list[Listed]:
        """Sort live containers by how much they are worth keeping.

        Those to retire come last; the others ready before unready, and old (warm) before young.
        """

        def worth(each: Listed) -> tuple[bool, bool, float]:
            known = self._known.get(each.id)
            age = _age(known) if known else float("inf")
            return each.name in retire, not self.is_ready(each), age

        return sorted(listed, key=worth)

    async def remove(self, listed: Listed) -> None:
        """Stop and remove a container; if it is gone, return silently."""
        if listed.lives:
            await self.halt(listed.id)
        self._removed.add(listed.id)
        try:
            await self._client.remove(listed.id)
        except BaseException:
            self._removed.discard(listed.id)
            raise
        self._forget(listed.id)

    def is_ready(self, listed: Listed) -> bool:
        """Return whether a container was ready when it was last probed."""
        known = self._known.get(listed.id)
        return known is not None and known.health.state is ReplicaState.READY

    def ready(self, keys: Collection[VersionKey]) -> list[Container]:
        """Return the containers of these versions that were ready when they were last probed."""
        return [
            known.container
            for known in self._known.values()
            if known.container.key in keys and known.health.state is ReplicaState.READY
        ]

    async def freeze(self, listed: Listed) -> None:
        """Keep a container for its version's next wake.

        Raises:
            EngineError: the engine cannot freeze it.
        """
        # In this order: cut off in between, it runs though it is kept, and is removed for that.
        await self._client.rename(listed.id, listed.name + KEPT)
        self._forget(listed.id)
        await self._client.pause(listed.id)

    async def rouse(self, listed: Listed) -> None:
        """Let a container that was kept be a replica again, another one by name than before.

        Raises:
            EngineError: it cannot go on.
        """
        # In this order, for the same reason.
        await self._client.unpause(listed.id)
        self._roused[listed.id] = utc_now()
        await self._client.rename(listed.id, container_name(listed.key))

    async def halt(self, container: str) -> None:
        """Ask a container to stop and kill it if it does not; if it is gone, return silently."""
        inspected = await self._client.inspect(container)
        if inspected is None:
            return
        found = parse_container(inspected)
        if found.frozen:
            # Podman refuses to stop it as it is.
            await self._client.unpause(container)
        if ignores(found.pid, found.id, found.stop_signal):
            # Waiting would only take its time: nobody in there would hear the signal.
            await self._client.kill(container)
        else:
            await self._client.stop(container, STOP_GRACE)

    # --- looking closely ----------------------------------------------------------------------

    def _is_news(self, listed: Listed) -> bool:
        known = self._known.get(listed.id)
        return not listed.unstarted and (known is None or known.look != listed.look)

    async def _look(self, listed: Listed) -> None:
        inspected = await self._client.inspect(listed.id)
        if inspected is None:
            self._forget(listed.id)
            return
        container = parse_container(inspected)
        if roused := self._roused.get(listed.id):
            startup = min(container.startup, GOES_ON_WITHIN)
            container = replace(container, started_at=roused, startup=startup)
        before = self._known.get(listed.id)
        if not container.lives:
            known = await self._diagnose(Known(container, listed.look), before)
        elif before and before.probe and before.container == container:
            before.look = listed.look
            return
        else:
            known = Known(container, listed.look)
        self._forget(listed.id)
        if listed.id in self._removed:
            # Its log went first: what was found of it tells nothing.
            return
        if container.lives:
            known.probe = self._probe(known)
        self._known[listed.id] = known
        if known.wants_writable_root:
            known.reviving = self._revive(known)

    def _probe(self, known: Known) -> Probe:
        return Probe(
            self._session,
            known.container,
            changed=self._changed,
            give_up=lambda fault: self._give_up(known, fault),
            count=lambda: len(self._known),
        )

    async def _give_up(self, known: Known, fault: str) -> None:
        container = known.container
        while not self._leads():  # noqa: ASYNC110 - leading is a matter of a clock
            await asyncio.sleep(1)
        known.given_up = f"not ready within {container.startup:g} s: {fault}"
        log.warning("%s: %s; stopping it", container.name, known.given_up)
        while True:
            try:
                await self.halt(container.id)
            except (Unavailable, EngineError) as error:
                log.warning("%s cannot be stopped: %s", container.name, error.message)
                await asyncio.sleep(1)
            else:
                self._changed()
                return

    async def _read_tail(self, known: Known) -> None:
        known.log_tail = tail_of(await self._log(known.container.id))

    async def _diagnose(self, known: Known, before: Known | None) -> Known:
        container = known.container
        lines = await self._log(container.id)
        known.log_tail = tail_of(lines)
        known.given_up = before.given_up if before else ""
        known.end = known.given_up
        if not known.end:
            oom = container.exit_code == _KILLED and await asyncio.to_thread(
                oom_killed, container.id
            )
            known.end = why_exited(container, known.log_tail, oom=oom)
        was_ready = before is not None and before.probe is not None and before.probe.was_ready
        known.wants_writable_root = (
            container.read_only
            and not was_ready
            and is_read_only_error([line.text for line in lines])
        )
        return known

    async def _log(self, container: str) -> list[Line]:
        try:
            return await past(self._client, container, LINES_READ)
        except EngineError:
            # It was removed meanwhile, or its log never came to be.
            return []

    def _forget(self, container: str) -> None:
        known = self._known.pop(container, None)
        if known and known.probe:
            known.probe.cancel()


def _replica(known: Known) -> Replica:
    container, health = known.container, known.health
    state, reason = health.state, health.reason
    if known.reviving:
        reason = "started again with a writable root file system, which it needs"
    elif not container.lives:
        state, reason = ReplicaState.EXITED, known.end
    elif not reason and container.writable_because not in {"", AS_REGISTERED}:
        reason = container.writable_because
    return Replica(
        id=container.name,
        state=state,
        address=container.address,
        reason=reason,
        hopeless=health.hopeless,
        exit_code=container.exit_code if state is ReplicaState.EXITED else None,
        log_tail=known.log_tail,
        image_at=container.created_at,
        started_at=container.started_at,
    )


def _age(known: Known) -> float:
    return (known.container.started_at or utc_now()).timestamp()
