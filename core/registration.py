"""From what a user asks for to a version that can be stored: every step is a plugin's decision.

image → profile → contract → hardware plan → nodes that fit → placement. Nothing is stored here, so
that a preflight and a registration take exactly the same way.
"""

from collections.abc import Mapping, Sequence

from longshore.core.convergence import workload_of
from longshore.core.errors import InvalidInput, LongshoreError, Refused, StartRefused
from longshore.core.hooks import Answer, Hooks, PluginFailed, failed
from longshore.core.images import profile_image, resolve_image
from longshore.core.measures import Known, decided, facts_of, noted, nothing_known
from longshore.core.names import VersionKey
from longshore.core.nodes import profiles_of
from longshore.core.placing import judge, plan_hardware
from longshore.core.protocols import Backend, Contract
from longshore.core.settings import Settings
from longshore.core.types import (
    Confidence,
    Decision,
    Evidence,
    HardwarePlan,
    ImageProfile,
    NodeProfile,
    Placement,
    RankedNode,
    Serving,
    Version,
    VersionSpec,
    utc_now,
)

_SUREST_FIRST = tuple(Confidence)

MOST_NODES_TOLD = 20
"""How many nodes a decision lists; a cluster may have thousands."""


class Registration:
    """Plans versions.

    Args:
        settings: the platform's.
        hooks: the plugins that decide.
        backends: where versions can run, by name.
        measured: tells what was measured of an image.

    Raises:
        StartRefused: two plugins bring a contract of the same name.
    """

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        backends: Mapping[str, Backend],
        measured: Known = nothing_known,
    ) -> None:
        self._settings = settings
        self._measured = measured
        self._hooks = hooks
        self._backends = backends
        self._contracts = by_name("contract", hooks.at_start("longshore_contract"))

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """How containers can be called, by name, in the order in which they are tried."""
        return {name: answer.value for name, answer in self._contracts.items()}

    async def plan(
        self, key: VersionKey, spec: VersionSpec, *, force: bool = False
    ) -> tuple[Version, list[Decision]]:
        """Work out everything about a version, and who decided it.

        Args:
            key: of the version.
            spec: what the user asked for.
            force: plan it although no node fits, for one that may come.

        Raises:
            InvalidInput: the backend, the image or the contract cannot be.
            Refused: no node fits and it is not forced, or a plugin objects.
            Unavailable: the image registry or the backend does not answer.
        """
        backend = self._backend(spec)
        decisions: list[Decision] = []
        image = await resolve_image(self._hooks, self._settings, spec.image, decisions)
        profile = await profile_image(self._hooks, self._settings, image, decisions)
        if measured := facts_of(await self._measured(image.digest), spec):
            profile = profile.model_copy(update={"facts": {**profile.facts, **measured}})
        serving = self._serving(spec, profile, decisions)
        nodes = await profiles_of(self._hooks, backend)
        plan = await plan_hardware(self._hooks, spec, profile, nodes, decisions)
        if not force:
            _refuse_failed(plan)
        ranked = await self._place(spec, plan, nodes, decisions, force=force)
        version = Version(
            key=key,
            spec=spec,
            image=image,
            serving=serving,
            placement=Placement(backend=backend.name, nodes=ranked, plan=plan),
            created_at=utc_now(),
        )
        return version, decisions

    async def replan(
        self, version: Version, measured: Mapping[str, Evidence]
    ) -> tuple[Version, list[Decision]]:
        """Return a version with the plan that follows from what was measured, and who decided it.

        Nodes are chosen anew only where replicas would be others than before.

        Raises:
            Unavailable: the backend does not answer.
        """
        answer = await self._hooks.first(
            "longshore_replan_hardware", version=version, measured=measured
        )
        before = version.placement
        plan = noted(answer.value if answer else before.plan, measured)
        plugin = answer.plugin if answer else "core"
        decisions = list(decided(before.plan, plan, measured, plugin))
        planned = _placed(version, plan, before.nodes)
        backend = self._backends.get(before.backend)
        if backend is None or workload_of(planned) == workload_of(version):
            return planned, decisions
        nodes = await profiles_of(self._hooks, backend)
        ranked = await self._place(version.spec, plan, nodes, decisions, force=True)
        return _placed(version, plan, ranked), decisions

    def _backend(self, spec: VersionSpec) -> Backend:
        name = spec.backend or self._settings.backend
        if name not in self._backends:
            raise InvalidInput(
                f"there is no backend {name!r}",
                pointer="/backend",
                hint=f"Enabled backends: {_listing(self._backends)}.",
            )
        return self._backends[name]

    def _serving(
        self, spec: VersionSpec, profile: ImageProfile, decisions: list[Decision]
    ) -> Serving:
        if spec.contract is not None and spec.contract not in self._contracts:
            raise InvalidInput(
                f"there is no contract {spec.contract!r}",
                pointer="/contract",
                hint=f"Enabled contracts: {_listing(self._contracts)}.",
            )
        tried = [spec.contract] if spec.contract else list(self._contracts)
        detected = (_detected(self._contracts[name], spec, profile) for name in tried)
        found = [each for each in detected if each is not None]
        if not found:
            raise InvalidInput(
                f"the image {spec.image!r} looks like none of the enabled contracts",
                pointer="/contract",
                hint=f"Name one with --contract: {_listing(self._contracts)}.",
            )
        # min keeps the first of equals, so the order of plugins breaks ties.
        serving = min(found, key=lambda each: _SUREST_FIRST.index(each.confidence))
        decisions.append(
            Decision(
                hook="longshore_contract",
                plugin=self._contracts[serving.contract].plugin,
                outcome=serving.model_dump(mode="json", exclude={"why"}),
                inputs={"tried": ", ".join(tried)},
                why=serving.why,
            )
        )
        return serving

    async def _place(
        self,
        spec: VersionSpec,
        plan: HardwarePlan,
        nodes: Sequence[NodeProfile],
        decisions: list[Decision],
        *,
        force: bool,
    ) -> tuple[RankedNode, ...]:
        """Filter and score all nodes; tell each plugin's part in it."""
        judged = [await judge(self._hooks, spec, plan, node) for node in nodes]
        against: dict[str, dict[str, str]] = {}
        scores: dict[str, dict[str, float]] = {}
        for each in judged:
            name = each.node.node.name
            for plugin, reasons in each.against.items():
                against.setdefault(plugin, {})[name] = reasons
            for plugin, score in each.scores.items():
                scores.setdefault(plugin, {})[name] = score
        for plugin, told in against.items():
            refused = {name: why for name, why in told.items() if why}
            decisions.append(
                Decision(
                    hook="longshore_filter_node",
                    plugin=plugin,
                    outcome=f"{len(told) - len(refused)} of {len(told)} nodes fit",
                    why=_reasons(refused),
                )
            )
        decisions += [
            Decision(
                hook="longshore_score_node",
                plugin=plugin,
                outcome=dict(sorted(told.items(), key=lambda each: -each[1])[:MOST_NODES_TOLD]),
                why=f"weight {self._hooks.weight(plugin):g}",
            )
            for plugin, told in scores.items()
        ]
        filters_failed = (failure for each in judged for failure in each.filters_failed)
        scores_failed = (failure for each in judged for failure in each.scores_failed)
        decisions += failed(filters_failed)
        decisions += failed(scores_failed)
        ranked = [
            RankedNode(name=each.node.node.name, score=each.score) for each in judged if each.fits
        ]
        if not ranked and not force:
            raise Refused(
                _nobody_fits(nodes, against),
                hint="Ask for less, or add a node that fits; --force registers it all the same, "
                "for a node that is yet to come.",
            )
        ranked.sort(key=lambda each: -each.score)
        return tuple(ranked)


def by_name(what: str, answers: Sequence[Answer]) -> dict[str, Answer]:
    """Return answers by the name of what they offer, in the same order.

    Raises:
        StartRefused: two plugins offer the same name.
    """
    found: dict[str, Answer] = {}
    for answer in answers:
        name = answer.value.name
        if name in found:
            raise StartRefused(
                f"plugins {found[name].plugin} and {answer.plugin} both bring a {what} {name!r}",
                hint="Disable one of them in plugins.toml: enabled = false",
            )
        found[name] = answer
    return found


def _detected(contract: Answer, spec: VersionSpec, profile: ImageProfile) -> Serving | None:
    try:
        serving: Serving | None = contract.value.detect(spec, profile)
    except LongshoreError:
        raise
    except Exception as error:
        raise PluginFailed(contract.plugin, "longshore_contract", error) from error
    return serving


def _placed(version: Version, plan: HardwarePlan, nodes: Sequence[RankedNode]) -> Version:
    placement = version.placement.model_copy(update={"plan": plan, "nodes": tuple(nodes)})
    return version.model_copy(update={"placement": placement})


def _refuse_failed(plan: HardwarePlan) -> None:
    failed = [each for each in plan.verdicts if each.outcome == "fail"]
    if failed:
        raise Refused(
            "; ".join(each.evidence for each in failed),
            hint=next((each.hint for each in failed if each.hint), ""),
        )


def _nobody_fits(nodes: Sequence[NodeProfile], against: Mapping[str, Mapping[str, str]]) -> str:
    if not nodes:
        return "no node fits: the backend has none"
    told = [
        f"{plugin} on {_reasons({name: why for name, why in reasons.items() if why})}"
        for plugin, reasons in against.items()
        if any(reasons.values())
    ]
    return f"no node fits: {'. '.join(told)}"


def _reasons(refused: Mapping[str, str]) -> str:
    shown = [f"{name}: {why}" for name, why in list(refused.items())[:MOST_NODES_TOLD]]
    if len(refused) > MOST_NODES_TOLD:
        shown.append(f"and {len(refused) - MOST_NODES_TOLD} more nodes")
    return "; ".join(shown)


def _listing(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
