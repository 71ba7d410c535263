"""Pod logs as lines."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from longshore.core.backends.lines import Line
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.kinds import POD
from longshore.plugins.kubernetes.pods import CONTAINER

MOST_LINES = 10_000
"""Lines of the past that are read for one pod."""

_NOT_YET = frozenset({400, 404})
"""What the API answers of a container that did not start yet, or is gone."""


async def past(client: Client, pod: str, tail: int, *, previous: bool = False) -> list[Line]:
    """Return the newest ``tail`` lines of a pod's log, oldest first; none where there is no log.

    Args:
        client: the cluster.
        pod: its name.
        tail: how many lines.
        previous: of the container before the one that runs now.
    """
    query = {"tailLines": str(min(tail, MOST_LINES))}
    if previous:
        query["previous"] = "true"
    return [line async for line in _read(client, pod, query)]


async def follow(client: Client, pod: str, since: float) -> AsyncIterator[Line]:
    """Yield what a pod writes from then on, until its container ends.

    Args:
        client: the cluster.
        pod: its name.
        since: seconds since 1970.
    """
    start = datetime.fromtimestamp(since, UTC)
    # The API knows whole seconds only.
    query = {"follow": "true", "sinceTime": start.strftime("%Y-%m-%dT%H:%M:%SZ")}
    exact = start.isoformat(timespec="microseconds").removesuffix("+00:00")
    async for line in _read(client, pod, query):
        if line.at[: len(exact)] >= exact:
            yield line


async def _read(client: Client, pod: str, query: dict[str, str]) -> AsyncIterator[Line]:
    query = {"container": CONTAINER, "timestamps": "true", **query}
    try:
        async with client.stream(client.path(POD, pod, "log"), query) as lines:
            async for raw in lines:
                at, _, text = raw.decode(errors="replace").partition(" ")
                if at:
                    yield Line(at, text).cleaned()
    except ApiError as error:
        if error.status not in _NOT_YET:
            raise
