"""The built-in plugin ``hardware_plan``: what a version's hardware is to be, by the rules."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from longshore.core.hookspecs import hookimpl
from longshore.core.quantities import Memory, mebibytes
from longshore.core.types import (
    Evidence,
    HardwarePlan,
    ImageProfile,
    NodeProfile,
    Version,
    VersionSpec,
)
from longshore.hardware.rules.affinity import affinity
from longshore.hardware.rules.architecture import architecture, cpu_level
from longshore.hardware.rules.environment import gpu_hidden, threads
from longshore.hardware.rules.estimate import estimate
from longshore.hardware.rules.gpu import gpu_target
from longshore.hardware.rules.gpu_code import gpu_code, gpu_driver
from longshore.hardware.rules.known import Known
from longshore.hardware.rules.measured import follow, measured
from longshore.hardware.rules.reading import image_read
from longshore.hardware.rules.weights import gpu_memory, memory

Rule = Callable[[Known, HardwarePlan], HardwarePlan]

RULES: tuple[Rule, ...] = (
    architecture,
    cpu_level,
    gpu_target,
    gpu_memory,
    gpu_code,
    gpu_driver,
    memory,
    estimate,
    measured,
    threads,
    gpu_hidden,
    affinity,
    image_read,
)
"""In this order; each sees what those before it decided."""


class PlanSettings(BaseModel):
    """What an operator may set for the plugin ``hardware_plan``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    gpu_from: Memory = "4096Mi"
    """Weights in an image that may use a GPU from which it gets one without being asked."""


def plan(known: Known) -> HardwarePlan:
    """Return the plan that the rules make of what is known. Pure."""
    asked = known.spec.resources
    made = HardwarePlan(cpu_millicores=asked.cpu_millicores, memory_mib=asked.memory_mib)
    for rule in RULES:
        made = rule(known, made)
    return made


class Plugin:
    """Plans by the rules of ``hardware/rules``.

    Args:
        settings: an operator's.
    """

    Settings = PlanSettings

    def __init__(self, settings: PlanSettings | None = None) -> None:
        self._settings = settings or PlanSettings()

    @hookimpl(trylast=True)
    def longshore_plan_hardware(
        self, version: VersionSpec, image: ImageProfile, nodes: Sequence[NodeProfile]
    ) -> HardwarePlan:
        """Join the user's wishes, the image's needs and what nodes have."""
        threshold = mebibytes(self._settings.gpu_from)
        return plan(Known(spec=version, profile=image, nodes=nodes, gpu_from_mib=threshold))

    @hookimpl(trylast=True)
    def longshore_replan_hardware(
        self, version: Version, measured: Mapping[str, Evidence]
    ) -> HardwarePlan:
        """Let the plan go by what was measured since."""
        return follow(version.placement.plan, version.spec, measured)
