"""How findings read a file that streams by."""

from collections.abc import Callable


class Held:
    """Holds a file's first bytes until it is whole.

    Args:
        most: how many of them.
        then: called with them.
    """

    def __init__(self, most: int, then: Callable[[bytes], None]) -> None:
        self._most = most
        self._then = then
        self._held = bytearray()

    def feed(self, data: bytes, start: int, end: int) -> None:
        """Take the next bytes."""
        room = self._most - len(self._held)
        if room > 0:
            self._held += data[start : min(end, start + room)]

    def close(self) -> None:
        """Tell what was held."""
        self._then(bytes(self._held))
