"""Reading an image's layers from its registry: several at once, each unpacked while it comes.

What takes the processor runs in threads, a megabyte at a time, so that the event loop goes on;
zlib, zstd and SHA-256 let go of Python's lock meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from longshore.core.errors import LongshoreError
from longshore.core.types import Progress
from longshore.hardware.bounds import Damaged, ImagesSettings, Unreadable
from longshore.hardware.chunked import NotWorthIt, read_chunked
from longshore.hardware.contents import position
from longshore.hardware.layer_cache import LayerCache
from longshore.hardware.layers import Layer, LayerReader, unreadable
from longshore.hardware.manifests import Descriptor
from longshore.hardware.registry_client import RegistryClient
from longshore.hardware.scan import Scan

log = logging.getLogger(__name__)

HANDED_OVER = 1 << 20
"""Bytes of a layer that a thread gets at once."""
MOST_LAYERS = 500
"""Engines take 127."""


class Inspector:
    """Reads layers.

    Args:
        bounds: how much of them, and how many at once.
    """

    def __init__(self, bounds: ImagesSettings) -> None:
        self._bounds = bounds
        self._slots: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def scan(
        self,
        registry: RegistryClient,
        layers: Sequence[Descriptor],
        cache: LayerCache,
        report: Callable[[Progress], None],
    ) -> Scan:
        """Read what is not known yet; return all that is, within the bounds.

        Args:
            registry: the image's.
            layers: of the image, the lowest first.
            cache: what was found before.
            report: told how many bytes of what is read have come.
        """
        known: dict[str, Layer] = {}
        wanted = self._wanted(layers, known)
        await asyncio.to_thread(_look_up, cache, wanted, known, self._bounds)
        readers = {
            digest: LayerReader(digest, layer.size, self._bounds)
            for digest, layer in wanted.items()
            if digest not in known
        }
        tally = _Tally({digest: wanted[digest].size for digest in readers}, report)
        work = _Work(registry, cache, known, tally)
        problem = f"was not read to its end within {self._bounds.seconds:g} s"
        try:
            async with asyncio.timeout(self._bounds.seconds), asyncio.TaskGroup() as group:
                for digest, reader in readers.items():
                    group.create_task(self._layer(work, wanted[digest], reader))
        except TimeoutError:
            for digest, reader in readers.items():
                if digest not in known:
                    known[digest] = reader.so_far(problem)
        return Scan(tuple(known[each.digest] for each in layers))

    def _wanted(
        self, layers: Sequence[Descriptor], known: dict[str, Layer]
    ) -> Mapping[str, Descriptor]:
        """Return those that may be read; the others are known to be too much."""
        wanted: dict[str, Descriptor] = {}
        left = self._bounds.download
        for number, each in enumerate(layers):
            if each.digest in wanted or each.digest in known:
                continue
            if number >= MOST_LAYERS:
                known[each.digest] = unreadable(
                    each.digest, f"is not read: it is beyond the first {MOST_LAYERS}"
                )
            elif each.size > left:
                why = f"is not read: {self._bounds.download} bytes are read of one image at most"
                known[each.digest] = unreadable(each.digest, why)
            else:
                wanted[each.digest] = each
                left -= each.size
        return wanted

    async def _layer(
        self,
        work: "_Work",
        told: Descriptor,
        reader: LayerReader,
    ) -> None:
        known, registry = work.known, work.registry
        async with self._slot():
            if _are_enough(known, self._bounds):
                why = "is not read: the layers before it hold as much as is told of one image"
                known[reader.digest] = unreadable(reader.digest, why)
                return
            try:
                layer = await self._by_contents(registry, told)
                layer = layer or await _streamed(registry, reader, work.tally)
            except Damaged as error:
                # Nothing of it can be trusted.
                layer = unreadable(reader.digest, error.why)
            except Unreadable as error:
                layer = reader.so_far(error.why)
            except LongshoreError as error:
                layer = reader.so_far(f"cannot be fetched: {error.message}")
        known[reader.digest] = layer
        work.tally.over(reader.digest)
        if layer.complete:
            await asyncio.to_thread(work.cache.put, layer)

    async def _by_contents(self, registry: RegistryClient, told: Descriptor) -> Layer | None:
        """Read a layer by its table of contents; None where that does not do."""
        where = position(told)
        if where is None:
            return None
        try:
            return await read_chunked(registry, told, where, self._bounds)
        except (NotWorthIt, Unreadable, LongshoreError) as error:
            log.debug("%s is read from end to end: %s", told.digest, error)
            return None

    def _slot(self) -> asyncio.Semaphore:
        """Return what lets some layers be read at once, in whichever loop this is."""
        loop = asyncio.get_running_loop()
        if self._slots is None or self._slots[0] is not loop:
            self._slots = (loop, asyncio.Semaphore(self._bounds.parallel))
        return self._slots[1]


class _Tally:
    """Adds up what has come of layers that are read at once.

    Args:
        sizes: bytes of each, by digest.
        report: told whenever there is more.
    """

    def __init__(self, sizes: Mapping[str, int], report: Callable[[Progress], None]) -> None:
        self._sizes = sizes
        self._come = dict.fromkeys(sizes, 0)
        self._total = sum(sizes.values())
        self._report = report

    def add(self, digest: str, count: int) -> None:
        """Note that so many bytes more have come of a layer."""
        self._come[digest] = min(self._come[digest] + count, self._sizes[digest])
        self._report(Progress(what="layers", done=sum(self._come.values()), total=self._total))

    def over(self, digest: str) -> None:
        """Note that nothing more of a layer is read."""
        self.add(digest, self._sizes[digest])


@dataclass(frozen=True, slots=True)
class _Work:
    """What all layers of an image share that are read at once."""

    registry: RegistryClient
    cache: LayerCache
    known: dict[str, Layer]
    tally: _Tally


def _look_up(
    cache: LayerCache,
    wanted: Mapping[str, Descriptor],
    known: dict[str, Layer],
    bounds: ImagesSettings,
) -> None:
    for digest in wanted:
        if not _are_enough(known, bounds) and (layer := cache.get(digest)):
            known[digest] = layer


def _are_enough(known: Mapping[str, Layer], bounds: ImagesSettings) -> bool:
    """Return whether layers together hold so much that no more should be held in memory."""
    layers = known.values()
    return (
        sum(each.entries for each in layers) > bounds.entries
        or sum(len(each.findings) for each in layers) > bounds.findings
    )


async def _streamed(registry: RegistryClient, reader: LayerReader, tally: _Tally) -> Layer:
    """Read a layer from its beginning to its end.

    Raises:
        Unreadable: it is no layer, too much of one, or not what its manifest tells.
        LongshoreError: the registry does not send it.
    """
    at_work = asyncio.ensure_future(asyncio.to_thread(reader.feed, b""))
    held = bytearray()
    try:
        async with registry.stream(reader.digest) as pieces:
            async for piece in pieces:
                held += piece
                if len(held) >= HANDED_OVER:
                    await _done(at_work)
                    # While the thread works, the next bytes come.
                    at_work = asyncio.ensure_future(asyncio.to_thread(reader.feed, bytes(held)))
                    tally.add(reader.digest, len(held))
                    held.clear()
        await _done(at_work)
        at_work = asyncio.ensure_future(asyncio.to_thread(reader.feed, bytes(held)))
        await _done(at_work)
        return await asyncio.to_thread(reader.finish)
    finally:
        # A thread cannot be stopped, and what it works on must not be used meanwhile.
        await asyncio.wait({at_work})
        if not at_work.cancelled():
            at_work.exception()


async def _done(work: "asyncio.Future[None]") -> None:
    """Wait for work without ending it where the waiting is ended, and raise what it raised."""
    await asyncio.wait({work})
    work.result()
