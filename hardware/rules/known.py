"""What the rules go by, and how they add to a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from longshore.core.gpus import Gpu, gpus_of
from longshore.core.types import (
    Confidence,
    Evidence,
    HardwarePlan,
    ImageConfig,
    ImageProfile,
    NodeProfile,
    Verdict,
    VersionSpec,
)

SURE = frozenset({Confidence.EXACT, Confidence.DECLARED})
"""Only such facts refuse a version."""


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known when a plan is made."""

    spec: VersionSpec
    profile: ImageProfile
    nodes: Sequence[NodeProfile]
    gpu_from_mib: int = 4096
    """Weights of so much make an optional GPU worth having."""
    candidates: Sequence[NodeProfile] = field(init=False)
    """Nodes with GPUs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(each for each in self.nodes if gpus_of(each)))

    @property
    def config(self) -> ImageConfig:
        """The image's."""
        return self.profile.image.config

    @property
    def gpus(self) -> list[tuple[NodeProfile, Gpu]]:
        """All GPUs of all nodes."""
        return [(node, gpu) for node in self.candidates for gpu in gpus_of(node)]

    def fact(self, name: str) -> Evidence | None:
        """Return what is known of the image by this name."""
        return self.profile.facts.get(name)

    def sure(self, name: str) -> Evidence | None:
        """Return the fact if it may refuse a version."""
        found = self.fact(name)
        return found if found is not None and found.confidence in SURE else None


def ruled(
    plan: HardwarePlan,
    rule: str,
    outcome: Literal["pass", "fail", "unknown"],
    evidence: str,
    *,
    hint: str = "",
    warnings: Sequence[str] = (),
    changes: Mapping[str, object] | None = None,
) -> HardwarePlan:
    """Return the plan with a rule's verdict.

    Args:
        plan: so far.
        rule: its identifier.
        outcome: ``fail`` refuses the version, ``unknown`` is a warning by itself.
        evidence: one sentence.
        hint: what to do where it fails.
        warnings: what else is worth knowing.
        changes: fields of the plan that the rule decides.
    """
    verdict = Verdict(rule=rule, outcome=outcome, evidence=evidence, hint=hint)
    return plan.model_copy(
        update={
            **(changes or {}),
            "verdicts": (*plan.verdicts, verdict),
            "warnings": (*plan.warnings, *warnings),
        }
    )


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
