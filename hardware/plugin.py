"""The built-in plugin ``images``: finds images in their registries, and reads what they are."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import httpx

from longshore.core.errors import InvalidInput, LongshoreError
from longshore.core.hookspecs import hookimpl
from longshore.core.machine import architecture
from longshore.core.settings import Settings as PlatformSettings
from longshore.core.types import Evidence, Image, ImageConfig, Progress
from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.inspection import Inspector
from longshore.hardware.layer_cache import LayerCache
from longshore.hardware.manifests import (
    Manifest,
    Platform,
    choose,
    platforms,
    read_config,
    read_manifest,
)
from longshore.hardware.profile import profile
from longshore.hardware.references import Reference
from longshore.hardware.registry_client import RegistryClient
from longshore.hardware.scan import Scan

MOST_MANIFEST_BYTES = 4 << 20
MOST_CONFIG_BYTES = 8 << 20
CACHE_FOLDER = "images"
"""In the state directory."""
_MOST_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The image for one platform that is behind a reference."""

    manifest: Manifest
    digest: str
    """Of what the reference names: the manifest, or the index that it is of."""
    offered: tuple[str, ...]
    """The platforms of the index; empty where there is none."""
    platform: str
    """As the index calls it; empty where there is none."""


class Plugin:
    """Reads registries over HTTPS, or plain HTTP where that is allowed.

    Args:
        settings: an operator's.
        wanted: platform to take from an image for several; this machine's if left out.
    """

    Settings = ImagesSettings

    def __init__(
        self, settings: ImagesSettings | None = None, *, wanted: Platform | None = None
    ) -> None:
        self._settings = settings or ImagesSettings()
        self._wanted = wanted or this_machine()
        self._inspector = Inspector(self._settings)
        self._remembered: OrderedDict[str, _Chosen] = OrderedDict()
        """By digest, for an image's profile is asked for right after it was resolved."""

    @hookimpl
    async def longshore_resolve_image(self, reference: str, settings: PlatformSettings) -> Image:
        """Ask the registry what the reference means now."""
        parsed = Reference.parse(reference)
        async with self._registry(parsed, settings) as registry:
            chosen = await self._choose(registry, parsed)
            config, own = await _config(registry, chosen.manifest, str(parsed))
        self._remembered[chosen.digest] = chosen
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return Image(
            reference=reference,
            repository=parsed.repository,
            digest=chosen.digest,
            platforms=chosen.offered or ((own,) if own else ()),
            size_bytes=sum(layer.size for layer in chosen.manifest.layers),
            config=config,
        )

    @hookimpl(trylast=True)
    async def longshore_delete_image(self, image: Image, settings: PlatformSettings) -> bool:
        """Delete the manifest that the image's digest names."""
        parsed = Reference.parse(image.pinned)
        async with self._registry(parsed, settings) as registry:
            await registry.delete(image.digest)
        return True

    def _registry(self, parsed: Reference, settings: PlatformSettings) -> RegistryClient:
        return RegistryClient(
            parsed,
            login=settings.registries.get(parsed.host),
            plain=settings.insecure_registries,
            tls=self._tls,
        )

    @hookimpl
    async def longshore_profile_image(
        self, image: Image, settings: PlatformSettings, report: Callable[[Progress], None]
    ) -> Mapping[str, Evidence]:
        """Tell what the image's configuration says, and what its layers hold."""
        chosen, scan = self._remembered.get(image.digest), None
        if self._settings.read_layers:
            parsed = Reference.parse(image.pinned)
            cache = LayerCache(settings.state / CACHE_FOLDER, self._settings)
            try:
                async with self._registry(parsed, settings) as registry:
                    chosen = chosen or await self._choose(registry, parsed)
                    layers = chosen.manifest.layers
                    scan = await self._inspector.scan(registry, layers, cache, report)
            except LongshoreError as error:
                # What is known without them is enough for what worked before.
                scan = Scan(skipped=(f"the manifest cannot be fetched: {error.message}",))
        own = image.platforms[0] if len(image.platforms) == 1 else ""
        read = chosen.platform if chosen and chosen.platform else own
        # Thousands of findings in many layers take their time, too.
        return await asyncio.to_thread(profile, image, read, scan)

    async def _choose(self, registry: RegistryClient, parsed: Reference) -> _Chosen:
        """Ask for the manifest of the wanted platform.

        Raises:
            InvalidInput: there is none, or it is no image's.
            Unavailable: the registry does not answer.
        """
        what = str(parsed)
        content, digest = await registry.manifest(parsed.target, MOST_MANIFEST_BYTES)
        manifest = read_manifest(content, what)
        if manifest.manifests is None:
            return _Chosen(manifest, digest, (), "")
        offered = platforms(manifest.manifests)
        entry = choose(manifest.manifests, self._wanted, what)
        content, _ = await registry.manifest(entry.digest, MOST_MANIFEST_BYTES)
        return _Chosen(read_manifest(content, what), digest, offered, str(entry.platform or ""))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """The certificates to trust: read once, as that takes some 20 ms."""
        return httpx.create_ssl_context()


async def _config(
    registry: RegistryClient, manifest: Manifest, what: str
) -> tuple[ImageConfig, str]:
    if manifest.config is None:
        raise InvalidInput(f"{what} is an index inside an index", pointer="/image")
    return read_config(await registry.blob(manifest.config.digest, MOST_CONFIG_BYTES), what)


def this_machine() -> Platform:
    """Return the platform that containers on this machine need."""
    return Platform(os="linux", architecture=architecture())
