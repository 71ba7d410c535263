"""What a node is, as plugins tell; for registration, and for the report."""

from collections.abc import Mapping, Sequence

from longshore.core.hooks import Failure, Hooks
from longshore.core.protocols import Backend
from longshore.core.types import Confidence, Evidence, KnownNode, Node, NodeProfile


async def profile_node(hooks: Hooks, node: Node) -> tuple[NodeProfile, list[Failure]]:
    """Collect what plugins know of a node.

    The first plugin that tells a fact wins, but one that says that it is not known yields to one
    that knows it.

    Args:
        hooks: the plugins.
        node: as its backend describes it.

    Returns:
        The profile, and which plugins failed.
    """
    answers, failures = await hooks.every("longshore_profile_node", node=node)
    facts: dict[str, Evidence] = {}
    for answer in answers:
        for name, fact in answer.value.items():
            before = facts.get(name)
            if before is None or _yields(before, fact):
                facts[name] = fact
    return NodeProfile(node=node, facts=facts), failures


async def profiles_of(hooks: Hooks, backend: Backend) -> list[NodeProfile]:
    """Return what plugins know of each node of a backend.

    Raises:
        Unavailable: it does not answer.
    """
    return [(await profile_node(hooks, node))[0] for node in await backend.nodes()]


async def known_nodes(hooks: Hooks, backends: Mapping[str, Backend]) -> Sequence[KnownNode]:
    """Return the nodes of all backends.

    Raises:
        Unavailable: a backend does not answer.
    """
    return [
        KnownNode(backend=name, profile=profile)
        for name, backend in backends.items()
        for profile in await profiles_of(hooks, backend)
    ]


def _yields(before: Evidence, fact: Evidence) -> bool:
    unknown = Confidence.UNKNOWN
    return before.confidence is unknown and fact.confidence is not unknown
