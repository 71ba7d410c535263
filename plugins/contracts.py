"""The contract of containers that follow no other: HTTP on some port, JSON on some path.

What the user says wins; then come the image's own labels, then what it exposes, then defaults.
"""

import json

from pydantic import JsonValue, ValidationError
from pydantic_core import from_json

from longshore.core.errors import InvalidInput
from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Contract
from longshore.core.types import Confidence, ImageConfig, ImageProfile, Serving, VersionSpec

LABELS = {
    "port": "longshore.port",
    "health_path": "longshore.health-path",
    "predict_path": "longshore.predict-path",
}
DEFAULTS = {"port": 8080, "health_path": "/health", "predict_path": "/predict"}
BY_DEFAULT = "by default"


class GenericContract:
    """Fits every image, and is the least sure of all contracts unless the image was made for it."""

    name = "generic"

    def detect(self, spec: VersionSpec, image: ImageProfile) -> Serving:
        """Return how to serve the image, with where each part of the answer comes from."""
        config = image.image.config
        declared = spec.contract == self.name or not config.labels.keys().isdisjoint(
            LABELS.values()
        )
        found = {part: _find(part, getattr(spec, part), config) for part in LABELS}
        values = {part: value for part, (value, _) in found.items()}
        health_required = found["health_path"][1] != BY_DEFAULT
        why = ", ".join(
            f"{part.replace('_', ' ')} {value} {source}" for part, (value, source) in found.items()
        )
        try:
            return Serving.model_validate(
                {
                    **values,
                    "contract": self.name,
                    "health_required": health_required,
                    "why": why if health_required else f"{why}; a missing health path is no fault",
                    "confidence": Confidence.DECLARED if declared else Confidence.UNKNOWN,
                }
            )
        except ValidationError as error:
            # What the user says was checked before, so a label is to blame.
            part = str(error.errors()[0]["loc"][0])
            raise InvalidInput(
                f"the image's label {LABELS[part]} is {str(values[part])[:100]!r}, "
                f"which is no {part.replace('_', ' ')}",
                pointer=f"/{part}",
                hint=f"Mend the label, or overrule it with --{part.replace('_', '-')}.",
            ) from error

    def encode(self, features: JsonValue) -> tuple[bytes, str]:
        """Return the features as they are, in JSON."""
        try:
            text = json.dumps(features, allow_nan=False)
        except ValueError as error:
            raise InvalidInput(
                "the features hold a number that JSON has no word for (NaN or infinity)",
                pointer="/features",
                hint="Send null, or another number, in its place.",
            ) from error
        return text.encode(), "application/json"

    def decode(self, body: bytes, content_type: str) -> JsonValue:
        """Return the JSON that the container answered, whatever it calls it."""
        predictions: JsonValue = from_json(body, allow_inf_nan=False)
        return predictions


def _find(part: str, asked: object, config: ImageConfig) -> tuple[object, str]:
    """Return one part of the answer, and where it comes from."""
    if asked is not None:
        return asked, "as registered"
    if LABELS[part] in config.labels:
        return config.labels[LABELS[part]], f"from the label {LABELS[part]}"
    if part == "port" and config.tcp_ports:
        return min(config.tcp_ports), "as the lowest that the image exposes"
    return DEFAULTS[part], BY_DEFAULT


@hookimpl(trylast=True)
def longshore_contract() -> Contract:
    """Bring the generic contract."""
    return GenericContract()
