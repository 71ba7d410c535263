"""What layers were found to hold, kept on disk by their digests.

Several processes may use one folder: a file is written under another name and put in place whole,
and one that a crash left half-written does not have the digest of its first line.
"""

import hashlib
import logging
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.layers import Layer

log = logging.getLogger(__name__)

EDITION = 2
"""Goes up whenever the same layer would be found to hold something else."""

_HEX = 64
_ABANDONED = 3600.0
"""Seconds after which what is being written is not any more."""
_LARGEST_SHARE = 4
_LEFT = 0.9
"""Which share of the bound is left when it was reached, so that not each write has to delete."""


class LayerCache:
    """A folder with a file for each layer. It never raises: without it, layers are read again.

    Args:
        folder: where; made when something is kept.
        bounds: how many bytes, and with which limits the layers were read.
    """

    def __init__(self, folder: Path, bounds: ImagesSettings) -> None:
        self._root = folder
        # What is found depends on these.
        self._folder = folder / f"layers-{EDITION}-{bounds.header}-{bounds.findings}"
        self._most = bounds.cache

    def get(self, digest: str) -> Layer | None:
        """Return what was found in a layer; None if that is not known."""
        path = self._path(digest)
        try:
            content = path.read_bytes()
            layer = self._parsed(content)
            if layer is not None and layer.digest == digest:
                # Those that were used last are kept longest.
                os.utime(path)
                return layer
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.debug("the cache of layers cannot be read: %s", error)
        return None

    def put(self, layer: Layer) -> None:
        """Keep what was found in a layer that was read to its end."""
        body = layer.model_dump_json().encode()
        content = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        if len(content) > self._most // _LARGEST_SHARE:
            return
        path = self._path(layer.digest)
        draft = path.with_name(f"{uuid.uuid4().hex}.draft")
        try:
            for each in (self._root.parent, self._root, self._folder):
                # The first is the state directory, which may hold more than this.
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_bytes(content)
            draft.replace(path)
            self._make_room()
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            log.debug("the cache of layers cannot be written: %s", error)

    def _path(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")

    def _parsed(self, content: bytes) -> Layer | None:
        body = content[_HEX + 1 :]
        if content[:_HEX] != hashlib.sha256(body).hexdigest().encode():
            return None
        try:
            return Layer.model_validate_json(body)
        except ValidationError:
            return None

    def _make_room(self) -> None:
        """Delete what was not used for longest, and what nobody goes on writing."""
        files = []
        for each in os.scandir(self._folder):
            try:
                status = each.stat()
            except FileNotFoundError:
                continue
            if each.name.endswith(".draft"):
                if time.time() - status.st_mtime > _ABANDONED:
                    Path(each.path).unlink(missing_ok=True)
                continue
            files.append((status.st_mtime_ns, status.st_size, each.path))
        total = sum(size for _, size, _ in files)
        if total <= self._most:
            return
        for _, size, path in sorted(files):
            Path(path).unlink(missing_ok=True)
            total -= size
            if total <= self._most * _LEFT:
                return
