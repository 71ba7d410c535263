"""What an image leads to: its plan, and for each node whether it fits there, and why.

It asks as registration does, and stores and refuses nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from longshore.core.doubts import doubts, granted
from longshore.core.errors import LongshoreError
from longshore.core.hooks import Hooks
from longshore.core.placing import Unplanned, judge, plan_hardware
from longshore.core.types import (
    Decision,
    HardwarePlan,
    ImageProfile,
    NodeProfile,
    Verdict,
    VersionSpec,
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something does not fit, or why that is not known."""

    why: str
    by: str = ""
    """The plugin, or the rule of the plan, that says so."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a version fits on one node."""

    node: NodeProfile
    verdict: Literal["fits", "does not fit", "unknown"]
    """``unknown``: nothing that is certain is against it, and not all that matters is known."""
    reasons: tuple[Reason, ...] = ()
    scores: Mapping[str, float] | None = None
    """Of each plugin that scores, weighted; None where registration would not take the node."""

    @property
    def score(self) -> float | None:
        """The weighted sum of all scores."""
        return None if self.scores is None else round(sum(self.scores.values()), 3)


@dataclass(frozen=True, slots=True)
class Prospect:
    """What an image leads to."""

    plan: HardwarePlan | None
    """None where no plugin makes one, or one refuses the version."""
    fits: tuple[Fit, ...]
    """In the order of the nodes."""
    failures: tuple[str, ...] = ()
    """The plugins that failed on the way, and of what."""


async def prospect(
    hooks: Hooks, spec: VersionSpec, profile: ImageProfile, nodes: Sequence[NodeProfile]
) -> Prospect:
    """Return what registering would lead to.

    Args:
        hooks: the plugins.
        spec: the image, and what the user wishes.
        profile: what is known of the image.
        nodes: what is known of the nodes, all of one backend.
    """
    return await _Asking(hooks, spec, profile).about(nodes)


class _Asking:
    """One round of questions, and which plugins failed in it."""

    def __init__(self, hooks: Hooks, spec: VersionSpec, profile: ImageProfile) -> None:
        self._hooks = hooks
        self._spec = spec
        self._profile = profile
        self._failures: dict[str, None] = {}

    async def about(self, nodes: Sequence[NodeProfile]) -> Prospect:
        plan, fits = None, []
        try:
            plan = await self._plan(nodes)
            sure = await self._is_sure(plan, nodes)
            fits = [await self._fit(plan, node, sure=sure) for node in nodes]
        except Unplanned as error:
            fits = [Fit(node, "unknown", (Reason(error.message),)) for node in nodes]
        except LongshoreError as error:
            # A plugin refuses the version, wherever it is to run.
            fits = [Fit(node, "does not fit", (Reason(error.message),)) for node in nodes]
        return Prospect(plan, tuple(fits), tuple(self._failures))

    async def _plan(self, nodes: Sequence[NodeProfile]) -> HardwarePlan:
        decisions: list[Decision] = []
        try:
            return await plan_hardware(self._hooks, self._spec, self._profile, nodes, decisions)
        finally:
            self._note(each.why for each in decisions if each.outcome is None)

    async def _is_sure(self, plan: HardwarePlan, nodes: Sequence[NodeProfile]) -> bool:
        """Return whether what fails would fail, too, if nodes had what nobody knows of them."""
        best = [granted(node, plan.gpu_count) for node in nodes]
        if not _failed(plan) or best == list(nodes):
            return True
        return bool(_failed(await self._plan(best)))

    async def _fit(self, plan: HardwarePlan, node: NodeProfile, *, sure: bool) -> Fit:
        """Judge a node, taken to have the GPUs that nobody knows of: what is against it still, is.

        Args:
            plan: the hardware that the version gets.
            node: the node.
            sure: whether what fails in the plan fails for certain.
        """
        best = granted(node, plan.gpu_count)
        judged = await judge(self._hooks, self._spec, plan, best)
        unasked = [str(each) for each in judged.filters_failed]
        self._note(unasked)
        self._note(str(each) for each in judged.scores_failed)
        if not judged.fits:
            against = (Reason(why, plugin) for plugin, why in judged.against.items() if why)
            return Fit(node, "does not fit", tuple(against))
        failed = tuple(Reason(each.evidence, each.rule) for each in _failed(plan))
        if failed and sure:
            return Fit(node, "does not fit", failed)
        # Registration takes a node as it is told, and one of which a filter could say nothing.
        scores = None if failed or best is not node else judged.scores
        unsure = [*doubts(self._spec, self._profile, plan, node), *unasked]
        if unsure or failed:
            return Fit(node, "unknown", tuple(map(Reason, unsure)) or failed, scores)
        return Fit(node, "fits", (), scores)

    def _note(self, failures: Iterable[str]) -> None:
        self._failures.update(dict.fromkeys(failures))


def _failed(plan: HardwarePlan) -> list[Verdict]:
    return [each for each in plan.verdicts if each.outcome == "fail"]
