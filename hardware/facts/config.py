"""What an image's configuration says by itself."""

from pydantic import JsonValue

from longshore.core.types import Confidence, Evidence, Image

MOST_LABELS = 64
MOST_LABEL_LENGTH = 256
_WITH_VARIANT = 3


def config_facts(image: Image, platform: str) -> dict[str, Evidence]:
    """Return the facts.

    Args:
        image: resolved.
        platform: that was read of those that it is offered for.
    """
    config, manifest = image.config, f"manifest {image.digest}"
    facts = {
        "platforms": exact(list(image.platforms), manifest),
        "ports": exact(list(config.tcp_ports), "exposed ports of the image configuration"),
    }
    parts = platform.split("/")
    if len(parts) == _WITH_VARIANT:
        facts["variant"] = exact(parts[2], manifest)
    if config.labels:
        # Some builders keep whole API descriptions in labels; the first of them will do.
        shown: dict[str, JsonValue] = {
            name: text[:MOST_LABEL_LENGTH]
            for name, text in list(config.labels.items())[:MOST_LABELS]
        }
        facts["labels"] = exact(shown, "labels of the image configuration")
    return facts


def exact(value: JsonValue, source: str) -> Evidence:
    """Return a fact that stands there word for word."""
    return Evidence(value=value, source=source, confidence=Confidence.EXACT)
