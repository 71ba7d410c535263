"""What a worker does not answer itself goes to the parent, over a socket of its own.

The parent serves its whole application on a Unix socket that only this user can reach.
"""

import aiohttp
from starlette.types import Scope

from longshore.router.passing_on import PassingOn

_OWN = ("/v1/",)
_OWN_PATHS = frozenset({"/v1", "/healthz"})


def to_parent_process(path: str, most: int) -> PassingOn:
    """Return the way to the parent.

    Args:
        path: of its socket.
        most: largest body in bytes.
    """
    return PassingOn(
        most,
        # A connection for each request costs little here, and none is ever found closed.
        connector=lambda: aiohttp.UnixConnector(path, limit=0, force_close=True),
        whom=lambda: "longshore",
        name="the process that manages the platform",
    )


def is_own(scope: Scope) -> bool:
    """Return whether a worker answers a request itself."""
    path: str = scope["path"]
    return path.startswith(_OWN) or path in _OWN_PATHS
