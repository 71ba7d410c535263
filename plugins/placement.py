"""Where a version may run: on nodes that are large enough, best where most room is left.

Only what is certain refuses a node; the rest becomes a verdict or a warning that
``longshore explain`` tells.
"""

from collections.abc import Iterator, Mapping, Sequence

from longshore.core.errors import Refused
from longshore.core.hookspecs import hookimpl
from longshore.core.types import (
    Evidence,
    HardwarePlan,
    Image,
    ImageProfile,
    NodeProfile,
    Resources,
    Verdict,
    VersionSpec,
)

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "RAYON_NUM_THREADS",
)
"""Left alone, these libraries start a thread per core of the node inside a small CPU limit, and
run many times slower."""


@hookimpl(trylast=True)
def longshore_plan_hardware(
    version: VersionSpec, image: ImageProfile, nodes: Sequence[NodeProfile]
) -> HardwarePlan:
    """Give what the user asked for, on the architectures that the image is built for."""
    asked = version.resources
    architectures = _architectures(image.image)
    return HardwarePlan(
        target="gpu" if asked.gpu else "cpu",
        architectures=architectures,
        gpu_count=asked.gpu,
        cpu_millicores=asked.cpu_millicores,
        memory_mib=asked.memory_mib,
        env=_environment(version, image),
        verdicts=(_architecture_verdict(image.image, architectures, nodes),),
        warnings=tuple(_warnings(asked, image.facts)),
    )


@hookimpl(trylast=True)
def longshore_filter_node(plan: HardwarePlan, node: NodeProfile) -> Sequence[str]:
    """Object to a node of another architecture, or with less than one replica asks for."""
    has = node.node
    reasons = []
    if plan.architectures and has.architecture not in plan.architectures:
        built_for = ", ".join(plan.architectures)
        reasons.append(f"it is {has.architecture}, and the image is built for {built_for}")
    if (plan.cpu_millicores or 0) > has.cpu_millicores:
        reasons.append(f"{plan.cpu_millicores}m CPU asked for, it has {has.cpu_millicores}m")
    if (plan.memory_mib or 0) > has.memory_mib:
        reasons.append(f"{plan.memory_mib} MiB memory asked for, it has {has.memory_mib} MiB")
    if plan.gpu_count > has.gpus:
        reasons.append(f"{plan.gpu_count} GPUs asked for, it has {has.gpus}")
    return reasons


@hookimpl(trylast=True)
def longshore_score_node(plan: HardwarePlan, node: NodeProfile) -> float:
    """Prefer nodes where the scarcer of CPU and memory is least used up by one replica."""
    has = node.node
    cpu = (plan.cpu_millicores or 0) / max(has.cpu_millicores, 1)
    memory = (plan.memory_mib or 0) / max(has.memory_mib, 1)
    score = 100 * (1 - max(cpu, memory))
    # Nodes with GPUs are for those that need them.
    return score / 2 if has.gpus and not plan.gpu_count else score


def _architectures(image: Image) -> tuple[str, ...]:
    """Return the architectures of ``os/architecture[/variant]``, each once."""
    found = (platform.split("/") for platform in image.platforms)
    return tuple(dict.fromkeys(parts[1] for parts in found if parts[0] == "linux" and parts[1:]))


def _architecture_verdict(
    image: Image, architectures: Sequence[str], nodes: Sequence[NodeProfile]
) -> Verdict:
    if not image.platforms:
        return Verdict(
            rule="architecture", outcome="unknown", evidence="the image does not say its platform"
        )
    there = sorted({node.node.architecture for node in nodes})
    evidence = f"image: {', '.join(image.platforms)}; nodes: {', '.join(there) or 'none'}"
    if nodes and not set(architectures) & set(there):
        raise Refused(
            f"no node can run the image {image.reference!r}: it is built for "
            f"{', '.join(image.platforms)}, and the nodes are {', '.join(there)}",
            hint="Build it for another platform too: docker buildx build --platform linux/"
            f"{there[0]} ...",
        )
    return Verdict(rule="architecture", outcome="pass", evidence=evidence)


def _warnings(asked: Resources, facts: Mapping[str, Evidence]) -> Iterator[str]:
    need, scan = facts.get("gpu_need"), facts.get("scan")
    if need and need.value in {"optional", "required"} and not asked.gpu:
        may = "may use" if need.value == "optional" else "needs"
        yield f"the image {may} a GPU ({need.source}), and gets none as none was asked for"
    match scan.value if scan else None:
        case {"complete": False, "skipped": [why, *more]}:
            others = f"; and {len(more)} more reasons" if more else ""
            yield f"not all of the image was read, so that less is known of it: {why}{others}"


def _environment(version: VersionSpec, image: ImageProfile) -> Mapping[str, str]:
    """Return what the hardware asks of the environment; what the user or image says wins."""
    env = {}
    own = image.image.config.env
    if millicores := version.resources.cpu_millicores:
        threads = str(max(1, millicores // 1000))
        env = {name: threads for name in THREADS if name not in own}
    if "NVIDIA_VISIBLE_DEVICES" in own and not version.resources.gpu:
        # CUDA base images set it to "all", which takes GPUs from those that asked for them.
        env["NVIDIA_VISIBLE_DEVICES"] = "void"
    return {name: text for name, text in env.items() if name not in version.env}
