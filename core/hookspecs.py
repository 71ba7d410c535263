"""Everything that a plugin can decide. This file is the whole plugin contract.

A plugin implements any of these functions, marked with ``longshore.hookimpl``, with any subset of
the arguments, by name. Plugins are called in the order of ``plugins.toml``, but those marked
``trylast``, as the built-in fallbacks are, after all others; "the first answer wins" means that the
first one that does not return None decides. Hooks marked *may be async* can be ``async def``; the
others run on the event loop and must not block.

A plugin that raises is named in the log and in the decisions, and counts as having no answer,
except in the four hooks that the start depends on (registry, backend, contract, commands), where
the start stops.
"""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    import click

    from longshore.core.measures import GpuUses
    from longshore.core.protocols import Backend, Balancer, Contract, Registry
    from longshore.core.settings import Settings
    from longshore.core.types import (
        Event,
        Evidence,
        HardwarePlan,
        Identity,
        Image,
        ImageProfile,
        Load,
        Node,
        NodeProfile,
        Progress,
        ScaleWish,
        Version,
        VersionSpec,
        Workload,
    )

PROJECT = "longshore"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def longshore_registry(settings: "Settings") -> "Registry | None":
    """Return the registry, Longshore's memory; the first answer wins.

    :param settings: the platform's settings; ``settings.database_url`` says where.
    :return: not yet opened; Longshore opens and closes it.
    """


@hookspec
def longshore_backend(settings: "Settings") -> "Backend | None":
    """Return a backend, somewhere to run containers; all answers are collected by their names.

    :param settings: the platform's settings, with the credentials for image registries.
    :return: not yet opened; Longshore opens and closes it.
    """


@hookspec(firstresult=True)
def longshore_resolve_image(
    reference: str, settings: "Settings"
) -> "Image | None | Awaitable[Image | None]":
    """Find the image that a reference means now; the first answer wins; may be async.

    :param reference: as the user wrote it.
    :param settings: the platform's settings, with the credentials for image registries.
    :return: the image with its digest. Raise ``InvalidInput`` where the reference is wrong,
        ``Unavailable`` where its registry does not answer: both reach the user.
    """


@hookspec(firstresult=True)
def longshore_delete_image(
    image: "Image", settings: "Settings"
) -> "bool | None | Awaitable[bool | None]":
    """Delete an image from its registry; the first answer wins; may be async.

    Asked only where ``delete_collected`` is set, and every version that has the image's digest was
    collected while it was.

    :param image: the image.
    :param settings: the platform's settings, with the credentials for image registries.
    :return: True where it is gone. Raise ``Unavailable`` where it cannot be deleted now, and why.
    """


@hookspec
def longshore_profile_image(
    image: "Image", settings: "Settings", report: "Callable[[Progress], None]"
) -> "Mapping[str, Evidence] | None | Awaitable[Mapping[str, Evidence] | None]":
    """Tell facts about an image; answers are merged, the first plugin wins; may be async.

    :param image: the image, resolved to its digest.
    :param settings: the platform's settings, with the credentials for image registries.
    :param report: may be told, from the event loop, how far something has come that takes long.
    :return: facts by name, each with its evidence; an unknown fact is left out.
    """


@hookspec
def longshore_profile_node(
    node: "Node",
) -> "Mapping[str, Evidence] | None | Awaitable[Mapping[str, Evidence] | None]":
    """Tell facts about a node; answers are merged, the first plugin wins; may be async.

    :param node: the node, as its backend describes it; memory in MiB, CPU in millicores.
    :return: facts by name, each with its evidence; an unknown fact is left out, or has the
        confidence ``unknown`` and as its source the reason.
    """


@hookspec(firstresult=True)
def longshore_plan_hardware(
    version: "VersionSpec", image: "ImageProfile", nodes: "Sequence[NodeProfile]"
) -> "HardwarePlan | None":
    """Decide which hardware a version gets; the first answer wins.

    :param version: what the user asked for; the user's own wish should win.
    :param image: what is known of the image.
    :param nodes: what is known of the nodes.
    :return: the plan. Raise ``Refused`` to refuse the version; the message reaches the user.
    """


@hookspec(firstresult=True)
def longshore_replan_hardware(
    version: "Version", measured: "Mapping[str, Evidence]"
) -> "HardwarePlan | None":
    """Let a version's hardware plan follow what was measured meanwhile; the first answer wins.

    Asked while it sleeps, and while it runs; of a plan that would make its containers others, those
    that run do not get to know, and it is asked for again when the version sleeps.

    :param version: the version, with the plan that it has.
    :param measured: what was measured of its image, in MiB: ``memory_measured`` of a replica,
        ``gpu_memory_measured`` of each of its GPUs; exact if it ran with the same settings.
    :return: the changed plan (``plan.model_copy(update=...)``), or None for no change. Nothing can
        be refused any more.
    """


@hookspec(firstresult=True)
def longshore_measure_gpus() -> "GpuUses | None | Awaitable[GpuUses | None]":
    """Tell how much of each GPU of this machine is in use; the first answer wins; may be async.

    Asked every half a minute while replicas of a backend on this machine have GPUs.

    :return: of each GPU or slice by its id; what cannot be told is None, with the reason.
    """


@hookspec
def longshore_filter_node(
    version: "VersionSpec", plan: "HardwarePlan", node: "NodeProfile"
) -> "Sequence[str] | None":
    """Name the reasons against running a version on a node; all answers are joined.

    :param version: what the user asked for.
    :param plan: the hardware that it gets.
    :param node: the node in question.
    :return: sentences, each a reason; none means that it fits.
    """


@hookspec
def longshore_score_node(
    version: "VersionSpec", plan: "HardwarePlan", node: "NodeProfile"
) -> "float | None":
    """Score a node that fits from 0 (poor) to 100 (ideal); scores are summed.

    :param version: what the user asked for.
    :param plan: the hardware that it gets.
    :param node: the node in question; no filter had anything against it.
    :return: the score; Longshore multiplies it with the plugin's ``weight`` from plugins.toml.
    """


@hookspec
def longshore_customize_workload(version: "Version", workload: "Workload") -> "Workload | None":
    """Change what a backend is asked to run; each plugin sees what the one before it returned.

    :param version: the version, complete.
    :param workload: the workload so far.
    :return: the changed workload (``workload.model_copy(update=...)``), or None for no change.
        It must be a function of its arguments alone: another answer restarts the containers.
    """


@hookspec(firstresult=True)
def longshore_scale(version: "Version", load: "Load", replicas: int) -> "ScaleWish | None":
    """Decide how many replicas a version should have; the first answer wins.

    :param version: the version; ``version.spec.scaling`` holds the user's bounds.
    :param load: what routers observed: requests in flight, requests a second.
    :param replicas: how many are ready now.
    :return: the wanted number and why; Longshore keeps it within the user's bounds.
    """


@hookspec(firstresult=True)
def longshore_expect_calls(
    version: "Version", calls: "Sequence[datetime]", at: "datetime"
) -> "str | None":
    """Tell why somebody will call a version at a certain time; the first answer wins.

    Asked every half a minute about each version that may sleep (``min`` is 0) and has been called
    since there was a plugin with this hook. Whose calls are expected is woken, and does not go to
    sleep; one that a user put to sleep meanwhile sleeps until they are expected anew.

    :param version: the version.
    :param calls: when the slots of five minutes began in which it was called in the last four weeks
        (UTC), oldest first.
    :param at: the time in question (UTC): when a wake that began now would be over.
    :return: why, one sentence, which ``longshore explain`` shows; None where nobody is expected.
    """


@hookspec(firstresult=True)
def longshore_balancer(version: "Version") -> "Balancer | None":
    """Return the object that chooses a replica for each request; the first answer wins.

    :param version: the version; asked once for each, so that a balancer may keep state.
    :return: the balancer; the router calls its ``pick`` for every request.
    """


@hookspec
def longshore_contract() -> "Contract | None":
    """Return one container contract: how to detect, probe and call such containers.

    All answers are collected by their names, and asked to detect in the order of plugins.
    """


@hookspec(firstresult=True)
def longshore_authenticate(
    headers: "Mapping[str, str]", settings: "Settings"
) -> "Identity | None | Awaitable[Identity | None]":
    """Tell who is calling; the first answer wins; may be async.

    As soon as one plugin implements this hook, callers that nobody recognises get 401.

    :param headers: the request's headers, names in lowercase; the last of repeated ones.
    :param settings: the platform's settings; ``settings.api_key`` is the key to be known by.
    :return: the caller, or None where this plugin does not recognise one. ``remember`` spares
        this caller's next requests the question.
    """


@hookspec
def longshore_on_event(event: "Event") -> "None | Awaitable[None]":
    """Learn that something happened: a registration, a start, a scaling, a failure; may be async.

    :param event: what, to which version, when (UTC).
    """


@hookspec
def longshore_commands(cli: "click.Group") -> None:
    """Add commands to the command line.

    :param cli: the ``longshore`` group; use ``@cli.command()``.
    """
