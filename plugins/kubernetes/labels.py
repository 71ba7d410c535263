"""What our objects are called, and the labels by which they are found again. Pure."""

import hashlib
import re

from longshore.core.names import VersionKey

PREFIX = "longshore.io/"
OWNER = f"{PREFIX}owner"
"""Label on everything of ours: the id of the installation."""
WORKLOAD = f"{PREFIX}workload"
"""Label on everything of one version: the name that its objects share."""
MODEL = f"{PREFIX}model"
VERSION = f"{PREFIX}version"
PULL = f"{PREFIX}pull"
"""Label on pods that only pull an image, instead of ``WORKLOAD``: that version's name."""
PULLED_ON = f"{PREFIX}pulled-on"
FINGERPRINT = f"{PREFIX}fingerprint"
SPEC_HASH = f"{PREFIX}spec-hash"
WRITABLE_ROOT = f"{PREFIX}writable-root"
NODES = f"{PREFIX}nodes"
HEALTH_PATH = f"{PREFIX}health-path"
HEALTH_REQUIRED = f"{PREFIX}health-required"
STARTUP = f"{PREFIX}startup"
"""Annotations; what is in them need not fit into a label."""

MANAGER = "longshore"

_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)


def object_name(owner: str, key: VersionKey) -> str:
    """Return the name of all objects of a version: ``longshore-iris-1-3f2a9c1b``.

    People read the model and version in it; what makes it unique is the end, as names are short,
    a version may differ from another by its case alone, and a namespace may have two owners.
    """
    unique = hashlib.sha256(f"{owner}/{key}".encode()).hexdigest()[:8]
    version = re.sub(r"[^a-z0-9]+", "-", key.version.lower()).strip("-")[:12].strip("-")
    parts = [MANAGER, key.name[:28].strip("-"), version, unique]
    return "-".join(part for part in parts if part)


def selector(owner: str, name: str) -> dict[str, str]:
    """Return the labels by which the pods of a version are found; they can never change."""
    return {OWNER: owner, WORKLOAD: name}


def labels(owner: str, key: VersionKey) -> dict[str, str]:
    """Return the labels of every object of a version."""
    name = object_name(owner, key)
    found = {
        **selector(owner, name),
        "app.kubernetes.io/name": key.name,
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "model",
        "app.kubernetes.io/part-of": "longshore",
        "app.kubernetes.io/managed-by": MANAGER,
    }
    if is_value(key.version):
        found["app.kubernetes.io/version"] = key.version
    return found


def is_key(text: str) -> bool:
    """Return whether a label or annotation may be called so."""
    return bool(_KEY.fullmatch(text))


def is_value(text: str) -> bool:
    """Return whether a label may have this value."""
    return bool(_VALUE.fullmatch(text))
