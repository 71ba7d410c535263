"""The built-in plugin ``images``: finds images in their registries, and reads what they are."""

import platform
import ssl
from collections.abc import Mapping
from functools import cached_property

import httpx
from pydantic import JsonValue

from longshore.core.errors import InvalidInput
from longshore.core.hookspecs import hookimpl
from longshore.core.settings import Settings
from longshore.core.types import Confidence, Evidence, Image, ImageConfig
from longshore.hardware.manifests import (
    Manifest,
    Platform,
    choose,
    platforms,
    read_config,
    read_manifest,
)
from longshore.hardware.references import Reference
from longshore.hardware.registry_client import RegistryClient

MOST_MANIFEST_BYTES = 4 << 20
MOST_CONFIG_BYTES = 8 << 20
MOST_LABELS = 64
MOST_LABEL_LENGTH = 256

# uname's words for what images call otherwise.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


class Plugin:
    """Reads registries over HTTPS, or plain HTTP where that is allowed.

    Args:
        wanted: platform to take from an image for several; this machine's if left out.
    """

    def __init__(self, wanted: Platform | None = None) -> None:
        self._wanted = wanted or this_machine()

    @hookimpl
    async def longshore_resolve_image(self, reference: str, settings: Settings) -> Image:
        """Ask the registry what the reference means now."""
        parsed = Reference.parse(reference)
        async with self._registry(parsed, settings) as registry:
            what = str(parsed)
            content, digest = await registry.manifest(parsed.target, MOST_MANIFEST_BYTES)
            manifest = read_manifest(content, what)
            offered: tuple[str, ...] = ()
            if manifest.manifests is not None:
                offered = platforms(manifest.manifests)
                entry = choose(manifest.manifests, self._wanted, what)
                content, _ = await registry.manifest(entry.digest, MOST_MANIFEST_BYTES)
                manifest = read_manifest(content, what)
            config, own = await _config(registry, manifest, what)
        return Image(
            reference=reference,
            repository=parsed.repository,
            digest=digest,
            platforms=offered or ((own,) if own else ()),
            size_bytes=sum(layer.size for layer in manifest.layers),
            config=config,
        )

    @hookimpl(trylast=True)
    async def longshore_delete_image(self, image: Image, settings: Settings) -> bool:
        """Delete the manifest that the image's digest names."""
        parsed = Reference.parse(image.pinned)
        async with self._registry(parsed, settings) as registry:
            await registry.delete(image.digest)
        return True

    def _registry(self, parsed: Reference, settings: Settings) -> RegistryClient:
        return RegistryClient(
            parsed,
            login=settings.registries.get(parsed.host),
            plain=settings.insecure_registries,
            tls=self._tls,
        )

    @hookimpl
    def longshore_profile_image(self, image: Image) -> Mapping[str, Evidence]:
        """Tell what the image's configuration alone says; its layers are not read."""
        config = image.config
        facts = {
            "platforms": _exact(list(image.platforms), f"manifest {image.digest}"),
            "ports": _exact(list(config.tcp_ports), "exposed ports of the image configuration"),
        }
        if config.labels:
            # Some builders keep whole API descriptions in labels; the first of them will do.
            shown: dict[str, JsonValue] = {
                name: text[:MOST_LABEL_LENGTH]
                for name, text in list(config.labels.items())[:MOST_LABELS]
            }
            facts["labels"] = _exact(shown, "labels of the image configuration")
        return facts | _gpu_facts(config.env)

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
    machine = platform.machine().lower()
    return Platform(os="linux", architecture=_ARCHITECTURES.get(machine, machine))


def _gpu_facts(env: Mapping[str, str]) -> dict[str, Evidence]:
    """Return what the environment says of GPUs: hints only, as base images set it for all."""
    facts = {}
    if version := env.get("CUDA_VERSION"):
        facts["cuda_version"] = Evidence(
            value=version,
            source="environment variable CUDA_VERSION",
            confidence=Confidence.DECLARED,
        )
    names = ("CUDA_VERSION", "NVIDIA_REQUIRE_CUDA", "NVIDIA_VISIBLE_DEVICES")
    seen = [name for name in names if env.get(name, "void") not in {"void", "none", ""}]
    if seen:
        facts["gpu_need"] = Evidence(
            value="optional",
            source=f"environment: {', '.join(f'{name}={env[name]}'[:80] for name in seen)}",
            confidence=Confidence.INFERRED,
        )
    return facts


def _exact(value: JsonValue, source: str) -> Evidence:
    return Evidence(value=value, source=source, confidence=Confidence.EXACT)
