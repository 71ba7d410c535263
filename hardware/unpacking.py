"""Unpacking a layer while it comes, a bounded piece at a time: gzip, zstd, or nothing to unpack.

What it is, its first bytes say; media types are only claims. Both formats may be several streams
one after the other, as parallel compressors write them.
"""

import sys
import zlib
from collections.abc import Iterator
from typing import Protocol

from longshore.hardware.bounds import Damaged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 1 << 20
"""Most bytes that are unpacked at once."""

_SLICE = 64 << 10
"""Most packed bytes that are looked at once: what follows a stream's end is copied each time."""
_MAGIC = 4
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPED = b"\x2a\x4d\x18"
"""The last three of the four bytes that a zstd frame begins with which holds no data."""
_LARGEST_WINDOW = 25
"""Base-2 logarithm of the memory that a zstd stream may ask for: 32 MiB."""


class Unpacker:
    """Unpacks one layer."""

    def __init__(self) -> None:
        self._begin = b""
        self._stream: _Stream | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out of the next bytes, in pieces of at most 1 MiB.

        Raises:
            Damaged: they cannot be unpacked.
        """
        try:
            for start in range(0, len(data), _SLICE):
                yield from self._feed(data[start : start + _SLICE])
        except (zlib.error, zstd.ZstdError) as error:
            raise Damaged(f"cannot be unpacked: {error}") from error

    def finish(self) -> Iterator[bytes]:
        """Yield what is left.

        Raises:
            Damaged: the end is missing.
        """
        if self._stream is None:
            yield self._begin
        elif not self._stream.may_end:
            raise Damaged("ends in the midst of its compressed data")

    def _feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream is None or self._stream.ended:
                data = self._begin + data
                self._begin = data[:_MAGIC] if len(data) < _MAGIC else b""
                if self._begin:
                    return
                self._stream = _opened(data, is_first=self._stream is None)
            yield from self._stream.feed(data)
            data = self._stream.rest


def _opened(data: bytes, *, is_first: bool) -> "_Stream":
    if data.startswith(_GZIP):
        return _Gzip()
    if data.startswith(_ZSTD) or data[1:_MAGIC] == _SKIPPED:
        return _Zstd()
    # Behind the last stream there may be padding; whatever it is, it is no part of the layer.
    return _Plain() if is_first else _Padding()


class _Stream(Protocol):
    """One of the streams that a layer is made of."""

    @property
    def ended(self) -> bool: ...
    @property
    def may_end(self) -> bool: ...
    @property
    def rest(self) -> bytes:
        """What was fed beyond its end."""

    def feed(self, data: bytes, /) -> Iterator[bytes]: ...


class _Gzip:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def ended(self) -> bool:
        return self._zlib.eof

    may_end = ended

    @property
    def rest(self) -> bytes:
        return self._zlib.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield self._zlib.decompress(data, PIECE)
            data = self._zlib.unconsumed_tail


class _Zstd:
    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): _LARGEST_WINDOW}
        self._zstd = zstd.ZstdDecompressor(options=options)

    @property
    def ended(self) -> bool:
        return self._zstd.eof

    may_end = ended

    @property
    def rest(self) -> bytes:
        return self._zstd.unused_data if self._zstd.eof else b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._zstd.decompress(data, PIECE)
        while not self._zstd.eof and not self._zstd.needs_input:
            yield self._zstd.decompress(b"", PIECE)


class _Plain:
    ended = False
    may_end = True
    rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Padding:
    ended = False
    may_end = True
    rest = b""

    def feed(self, _data: bytes) -> Iterator[bytes]:
        return iter(())
