"""Objects that have the name of one of ours and belong to somebody else: they are left alone."""

from longshore.plugins.kubernetes.client import FIELD_MANAGER, ApiError, Client
from longshore.plugins.kubernetes.kinds import Json, Kind
from longshore.plugins.kubernetes.labels import OWNER

_NOT_SERVED = 404


async def found(client: Client, kind: Kind, name: str) -> Json | None:
    """Return an object by its name, whoever it belongs to; None where there is none.

    It is asked for as a list, so that no further right is needed. Of a kind that the cluster does
    not serve, there is none.
    """
    try:
        answer = await client.get(client.path(kind), {"fieldSelector": f"metadata.name={name}"})
    except ApiError as error:
        if error.status == _NOT_SERVED:
            return None
        raise
    items = answer.get("items") or ()
    return items[0] if items else None


def whose(item: Json, owner: str) -> str:
    """Return whom an object belongs to, for people; empty where it is ours.

    One that somebody took our label from is ours still, if we made it.

    Args:
        item: the object.
        owner: id of our installation.
    """
    metadata = item["metadata"]
    carried = (metadata.get("labels") or {}).get(OWNER)
    if carried == owner:
        return ""
    if carried:
        return f"another installation of Longshore ({carried})"
    managers = {each.get("manager") for each in metadata.get("managedFields") or ()}
    return "" if FIELD_MANAGER in managers else "somebody else"
