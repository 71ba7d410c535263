"""What can be found in a layer. These values are kept on disk, so what they mean never changes.

A change of their meaning, or of what is found, needs another ``layer_cache.EDITION``.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from longshore.core.types import Value


class Package(Value):
    """A package that was installed, as its own description tells."""

    kind: Literal["package"] = "package"
    path: str
    """Of the description: ``.../site-packages/torch-2.9.0.dist-info/METADATA``."""
    name: str
    """In lowercase, words joined by ``-``."""
    version: str
    manager: Literal["python", "conda"] = "python"
    requires: tuple[str, ...] = ()
    """Of what it requires, that which tells of CUDA: ``cuda-toolkit==13.0.2``."""


class Ownership(Value):
    """Which names next to a package's description are the package's, as its RECORD lists them."""

    kind: Literal["ownership"] = "ownership"
    path: str
    """Of the RECORD."""
    names: tuple[str, ...]


class Library(Value):
    """A library of CUDA, known by its file name."""

    kind: Literal["library"] = "library"
    path: str
    name: str
    """Without version: ``libcudart``."""
    version: str = ""
    """As the file name ends: ``12`` or ``12.4.127``."""


class DeviceCode(Value):
    """Code for GPUs in a program or library."""

    kind: Literal["device_code"] = "device_code"
    path: str
    sass: tuple[str, ...]
    """Compute capabilities that it holds machine code for, as compilers write them: ``90a``."""
    ptx: tuple[str, ...]
    """The same for what a driver compiles."""


class Weights(Value):
    """A file that holds a model's parameters."""

    kind: Literal["weights"] = "weights"
    path: str
    format: str
    bytes: int
    parameters: Mapping[str, int] = {}
    """How many, by the type of their numbers; empty where the format does not tell cheaply."""
    problem: str = ""
    """Why its header could not be read."""


class ModelConfig(Value):
    """The sizes of a model, as its configuration tells them."""

    kind: Literal["model_config"] = "model_config"
    path: str
    layers: int
    kv_heads: int
    """For which keys and values are kept."""
    head_dim: int
    dtype: str = ""
    """Of its numbers: ``bfloat16``; empty where it does not say."""


class Blob(Value):
    """A large file with a name that says nothing, as download caches keep them."""

    kind: Literal["blob"] = "blob"
    path: str
    bytes: int


class Link(Value):
    """Another name of a file."""

    kind: Literal["link"] = "link"
    path: str
    target: str
    """The file's path from the root."""
    hard: bool


Finding = Annotated[
    Package | Ownership | Library | DeviceCode | Weights | ModelConfig | Blob | Link,
    Field(discriminator="kind"),
]
