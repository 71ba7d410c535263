"""The plugin ``image_locality``: nodes that have the image already, where the backend tells."""

from longshore.core.hookspecs import hookimpl
from longshore.core.types import NodeProfile, VersionSpec

_PREFIXES = ("", "docker.io/", "docker.io/library/")
"""How engines complete the names of images on Docker Hub."""


@hookimpl(trylast=True)
def longshore_score_node(version: VersionSpec, node: NodeProfile) -> float | None:
    """Prefer nodes that need not pull; no word where nobody knows what they have.

    A node may have what a tag meant earlier; then it pulls a part of the image at least.
    """
    has = frozenset(node.node.images)
    if not has:
        return None
    return 100.0 if any(f"{prefix}{version.image}" in has for prefix in _PREFIXES) else 0.0
