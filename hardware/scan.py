"""What was read of an image's layers, all together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from longshore.hardware.layers import Layer


@dataclass(frozen=True, slots=True)
class Scan:
    """The layers of an image, as far as they were read."""

    layers: Sequence[Layer] = ()
    """The lowest first; also those that could not be read."""
    skipped: Sequence[str] = field(default=())
    """What was not read besides, and why."""

    @property
    def problems(self) -> list[str]:
        """Why not all of the image was read, each a sentence without its end."""
        layers = [
            f"layer {each.digest[:19]}… {each.problem}" for each in self.layers if each.problem
        ]
        return [*self.skipped, *layers]

    @property
    def complete(self) -> bool:
        """Whether all layers were read to their ends."""
        return not self.problems
