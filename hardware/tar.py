"""Reading a tar archive while it comes: its entries, and of their content only what is asked for.

Python's own ``tarfile`` reads an entry's extended header into memory whatever its length, and takes
several times as long for each entry. Here every header is bounded. All dialects that builders of
images write are understood: ustar, pax and GNU.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from longshore.hardware.bounds import Damaged, TooMuch

BLOCK = 512
HEAD = 16
"""How many bytes of a file are shown when it begins."""
LONGEST_NAME = 4096
MOST_EXTENDED = 1 << 20
"""Most bytes of an extended header; real ones hold a path and a few attributes."""

_EMPTY = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_BINARY = 0x80


class Kind(Enum):
    """What an entry is, as far as it matters here."""

    FILE = auto()
    FOLDER = auto()
    HARD_LINK = auto()
    SYMLINK = auto()
    OTHER = auto()


_KINDS = {
    **dict.fromkeys((b"0", b"\0", b"7", b"S"), Kind.FILE),
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.FOLDER,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link in an archive."""

    path: str
    """From the root, without a slash at either end; empty for the root itself."""
    kind: Kind
    size: int
    """Of the file, in bytes; 0 for what has no content."""
    target: str = ""
    """Of a link, as it stands there."""


class Content(Protocol):
    """Takes a file's content as it comes, in ``data[start:end]``."""

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take the next bytes."""

    def close(self) -> None:
        """Learn that it is whole."""


class Shelf(Protocol):
    """Told of all that is in an archive."""

    def add(self, entry: Entry) -> None:
        """Learn that there is an entry."""

    def open(self, entry: Entry, head: bytes) -> Content | None:
        """Return what is to read a file with something in it; None if nobody wants to.

        Args:
            entry: the file; it was added before.
            head: its first 16 bytes, or all that it has. They will be fed, too.
        """


class TarReader:
    """Reads an archive.

    Args:
        shelf: told of what is in it.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._ended = False
        self._block = bytearray()
        """The part of a header block that has come."""
        self._left = 0
        """How many bytes of the current content are to come."""
        self._padding = 0
        self._content: Content | None = None
        self._unopened: Entry | None = None
        """A file that was not shown to the shelf yet."""
        self._sparse = False
        """Whether blocks follow that list the holes of a file."""
        self._extended = b""
        """Type of the extended header whose content comes now; empty for none."""
        self._held = bytearray()
        self._pax: dict[bytes, bytes] = {}
        self._long: dict[bytes, bytes] = {}
        self.used = False
        """Whether there was any entry."""

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            Damaged: this is no archive.
            TooMuch: a header is too long.
        """
        at, end = 0, len(data)
        while at < end and not self._ended:
            if self._left:
                at = self._read(data, at, min(end, at + self._left))
            elif self._padding:
                step = min(self._padding, end - at)
                self._padding -= step
                at += step
            elif not self._block and end - at >= BLOCK:
                self._header(data[at : at + BLOCK])
                at += BLOCK
            else:
                step = min(BLOCK - len(self._block), end - at)
                self._block += data[at : at + step]
                at += step
                if len(self._block) == BLOCK:
                    block = bytes(self._block)
                    self._block.clear()
                    self._header(block)

    def finish(self) -> None:
        """Learn that nothing follows.

        Raises:
            Damaged: it ends in the midst of an entry.
        """
        if not self._ended and (self._left or self._block or self._extended or self._sparse):
            raise Damaged("ends in the midst of an entry")

    # --- content ------------------------------------------------------------------------------

    def _read(self, data: bytes, start: int, end: int) -> int:
        """Take content; return up to where."""
        if self._extended:
            self._held += data[start:end]
        elif self._unopened is not None:
            wanted = min(HEAD, self._left + len(self._held)) - len(self._held)
            if end - start < wanted:
                self._held += data[start:end]
            else:
                head = bytes(self._held) + data[start : start + wanted]
                self._content = self._shelf.open(self._unopened, head)
                self._unopened = None
                if self._content is not None and self._held:
                    self._content.feed(bytes(self._held), 0, len(self._held))
                self._held.clear()
        if self._content is not None:
            self._content.feed(data, start, end)
        self._left -= end - start
        if not self._left:
            self._end_content()
        return end

    def _end_content(self) -> None:
        if self._extended:
            kind, content = self._extended, bytes(self._held)
            self._extended = b""
            self._held.clear()
            if kind == b"x":
                self._pax = _pax(content)
            elif kind != b"g":
                self._long[kind] = content.rstrip(b"\0")
        elif self._content is not None:
            content_reader, self._content = self._content, None
            content_reader.close()

    # --- headers ------------------------------------------------------------------------------

    def _header(self, block: bytes) -> None:
        if self._sparse:
            self._sparse = bool(block[504])
            return
        if block == _EMPTY:
            self._ended = True
            return
        _check(block)
        kind, size = block[156:157], _number(block[124:136])
        if kind in {b"x", b"g", b"L", b"K"}:
            if size > MOST_EXTENDED:
                raise TooMuch(
                    f"has an extended header of {size} bytes, and {MOST_EXTENDED} are read"
                )
            self._extended = kind
            self._begin(size)
            if not size:
                self._end_content()
            return
        pax, self._pax = self._pax, {}
        long, self._long = self._long, {}
        if b"size" in pax:
            size = _decimal(pax[b"size"])
        has_content = _KINDS.get(kind, Kind.OTHER) in {Kind.FILE, Kind.OTHER}
        # Links and folders have none, whatever some writers put there.
        self._begin(size if has_content else 0)
        self._entry(block, kind, size, pax, long)

    def _begin(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _entry(
        self,
        block: bytes,
        kind: bytes,
        size: int,
        pax: dict[bytes, bytes],
        long: dict[bytes, bytes],
    ) -> None:
        self.used = True
        sparse = kind == b"S" or any(name.startswith(b"GNU.sparse.") for name in pax)
        if kind == b"S":
            self._sparse = bool(block[482])
            real = _number(block[483:495])
        else:
            real = _decimal(pax.get(b"GNU.sparse.realsize", b"%d" % size))
        name = pax.get(b"GNU.sparse.name") or pax.get(b"path") or long.get(b"L") or _name(block)
        what = _KINDS.get(kind, Kind.OTHER)
        # Before there was a type for folders, a slash at the end of the name said it.
        if what is Kind.FILE and name.endswith(b"/"):
            what = Kind.FOLDER
        target = pax.get(b"linkpath") or long.get(b"K") or block[157:257].partition(b"\0")[0]
        path = clean(name)
        if path is None:
            return
        is_link = what in {Kind.HARD_LINK, Kind.SYMLINK}
        entry = Entry(
            path,
            what,
            real if what is Kind.FILE else 0,
            _text(target)[:LONGEST_NAME] if is_link else "",
        )
        self._shelf.add(entry)
        if what is Kind.FILE and size and not sparse:
            self._unopened = entry


def clean(name: bytes) -> str | None:
    """Return a path from the root as images mean it; None where it leads out or cannot be one."""
    if len(name) > LONGEST_NAME or b"\0" in name:
        return None
    text = _text(name)
    if "//" not in text and "/." not in text and text[:1] not in {".", "/"}:
        return text.rstrip("/")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    return None if ".." in parts else "/".join(parts)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _check(block: bytes) -> None:
    """Compare a header's checksum, which tells headers from anything else."""
    told = block[_CHECKSUM].strip(b"\0 ")
    # Its own eight bytes count as blanks.
    summed = sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")
    if told.strip(b"01234567") or int(told or b"0", 8) != summed:
        raise Damaged("is no tar archive, or a header of it is damaged")


def _number(field: bytes) -> int:
    if field[0] & _BINARY:
        number = int.from_bytes(bytes([field[0] & ~_BINARY]) + field[1:], "big")
        if number >> 62:
            raise Damaged("has an entry of an impossible size")
        return number
    text = field.partition(b"\0")[0].strip()
    if text and text.strip(b"01234567"):
        raise Damaged("has a number in a header that is none")
    return int(text, 8) if text else 0


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:  # noqa: PLR2004 - 2**62 has 19
        raise Damaged("has a number in an extended header that is none")
    return int(text)


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    # GNU's own dialect keeps times where ustar keeps the front of a long name.
    if block[257:263] == b"ustar\0" and block[345]:
        return block[345:500].partition(b"\0")[0] + b"/" + name
    return name


def _pax(content: bytes) -> dict[bytes, bytes]:
    """Read ``LENGTH NAME=VALUE`` lines, each as long as it says."""
    found, at = {}, 0
    while at < len(content):
        blank = content.find(b" ", at, at + 20)
        length = content[at:blank] if blank > 0 else b""
        if not length.isdigit() or not blank - at < int(length) <= len(content) - at:
            raise Damaged("has an extended header that cannot be read")
        line = content[blank + 1 : at + int(length)]
        name, _, value = line.removesuffix(b"\n").partition(b"=")
        found[name] = value
        at += int(length)
    return found
