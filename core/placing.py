"""Which hardware a version gets, and what plugins say of each node.

Registration and the report ask in this one way, so that the report tells what registering does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longshore.core.errors import Refused
from longshore.core.hooks import Answer, Failure, Hooks, failed
from longshore.core.types import Decision, HardwarePlan, ImageProfile, NodeProfile, VersionSpec


class Unplanned(Refused):
    """No plugin made a plan."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What plugins say of one node."""

    node: NodeProfile
    against: Mapping[str, str]
    """The reasons of each plugin that filters; empty where it has none."""
    scores: Mapping[str, float]
    """Of each plugin that scores, weighted; of a node that does not fit there are none."""
    filters_failed: Sequence[Failure] = ()
    scores_failed: Sequence[Failure] = ()

    @property
    def fits(self) -> bool:
        """Whether no plugin has anything against it."""
        return not any(self.against.values())

    @property
    def score(self) -> float:
        """The weighted sum of all scores."""
        return round(sum(self.scores.values()), 3)


async def plan_hardware(
    hooks: Hooks,
    spec: VersionSpec,
    profile: ImageProfile,
    nodes: Sequence[NodeProfile],
    decisions: list[Decision],
) -> HardwarePlan:
    """Return what the first plugin that plans says.

    Args:
        hooks: the plugins.
        spec: what the user asked for.
        profile: what is known of the image.
        nodes: what is known of the nodes.
        decisions: gets one more, and one for each plugin that failed.

    Raises:
        Unplanned: no plugin planned anything.
        Refused: a plugin objects.
    """
    answer, failures = await hooks.first_told(
        "longshore_plan_hardware", version=spec, image=profile, nodes=nodes
    )
    decisions += failed(failures)
    if answer is None:
        raise Unplanned(
            "no plugin planned the hardware for this version",
            hint="Enable the built-in plugin hardware_plan, or see Longshore's log.",
        )
    plan: HardwarePlan = answer.value
    decisions.append(
        Decision(
            hook="longshore_plan_hardware",
            plugin=answer.plugin,
            outcome=plan.model_dump(mode="json", exclude={"verdicts", "warnings"}),
            inputs={"resources": spec.resources.model_dump(mode="json")},
            why="; ".join(
                [f"{each.rule}: {each.outcome} ({each.evidence})" for each in plan.verdicts]
                + list(plan.warnings)
            ),
        )
    )
    return plan


async def judge(
    hooks: Hooks, spec: VersionSpec, plan: HardwarePlan, node: NodeProfile
) -> Judgement:
    """Ask all plugins what they have against a node, and if that is nothing, how good it is.

    Raises:
        Refused: a plugin's score is no number, or a plugin objects to the version itself.
    """
    asked = {"version": spec, "plan": plan, "node": node}
    filters, filters_failed = await hooks.every("longshore_filter_node", **asked)
    against = {answer.plugin: "; ".join(answer.value) for answer in filters}
    if any(against.values()):
        return Judgement(node, against, {}, filters_failed)
    answers, scores_failed = await hooks.every("longshore_score_node", **asked)
    scores = {answer.plugin: _weighted(hooks, answer) for answer in answers}
    return Judgement(node, against, scores, filters_failed, scores_failed)


def _weighted(hooks: Hooks, answer: Answer) -> float:
    if not isinstance(answer.value, int | float):
        raise Refused(
            f"plugin {answer.plugin} scored a node in longshore_score_node with "
            f"{answer.value!r}, which is no number",
            hint="Mend the plugin, or disable it in plugins.toml.",
        )
    return min(max(float(answer.value), 0.0), 100.0) * hooks.weight(answer.plugin)
