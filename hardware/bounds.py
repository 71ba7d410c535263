"""How much an operator lets Longshore read of one image, and what is said where that is over."""

from pydantic import BaseModel, ConfigDict, Field


class ImagesSettings(BaseModel):
    """Settings of the plugin ``images`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    read_layers: bool = True
    """Read what is in an image; otherwise only its configuration is read."""
    seconds: float = Field(default=60, gt=0)
    """Seconds that reading one image's layers may take; then the profile is what was read."""
    download: int = Field(default=32 << 30, ge=0)
    """Most compressed bytes that are read of one image."""
    unpacked: int = Field(default=128 << 30, ge=0)
    """Most bytes that one layer may unpack to."""
    ratio: float = Field(default=100, ge=1)
    """Most bytes that one compressed byte may become, once a layer has unpacked to 256 MiB."""
    entries: int = Field(default=1_000_000, ge=1)
    """Most files and folders in one layer; beyond them, no more layers of an image are read."""
    header: int = Field(default=8 << 20, ge=4096)
    """Most bytes of one header or one package's description that are held in memory."""
    findings: int = Field(default=10_000, ge=1)
    """Most files of one layer that are told of; beyond them, no more layers are read."""
    parallel: int = Field(default=3, ge=1, le=32)
    """How many layers are read at once, over all images."""
    cache: int = Field(default=64 << 20, ge=0)
    """Most bytes of what layers were found to hold that are kept on disk; 0: none."""


class Unreadable(Exception):
    """A layer cannot be read to its end.

    Args:
        why: what is wrong with it, the rest of a sentence that begins with the layer.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Damaged(Unreadable):
    """It is not what it says it is."""


class TooMuch(Unreadable):
    """It goes beyond a bound."""
