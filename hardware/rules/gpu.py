"""Rule ``gpu-target``: whether a version gets GPUs, and how many."""

from longshore.core.quantities import memories, memory
from longshore.core.types import HardwarePlan
from longshore.hardware.rules.known import Known, ruled
from longshore.hardware.rules.weights import split_over, weights_of

_RULE = "gpu-target"


def gpu_target(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Give the GPUs that the user asks for; without a word, those that the image needs.

    An image that may use a GPU gets one only for weights of some size: a small model is served as
    well without, and GPUs are dear.
    """
    resources, need = known.spec.resources, known.fact("gpu_need")
    needs, source = (str(need.value), need.source) if need else ("unknown", "nothing tells")
    wish = resources.gpu
    if wish is None and resources.gpu_memory:
        wish = split_over(known)
    if wish is not None:
        return _wished(plan, wish, needs, source)
    match needs:
        case "required":
            return _required(known, plan, source)
        case "optional":
            return _optional(known, plan, source)
        case "none":
            return ruled(plan, _RULE, "pass", f"the image uses no GPU: {source}")
    why = f"whether the image uses a GPU is unknown: {source}"
    evidence = f"no GPU asked for; {why}"
    return ruled(plan, _RULE, "unknown", evidence, warnings=[why] if need else [])


def _wished(plan: HardwarePlan, wish: int, needs: str, source: str) -> HardwarePlan:
    evidence = f"{wish or 'none'} asked for; the image's need: {needs} ({source})"
    warnings = []
    if wish and needs == "none":
        warnings = [f"a GPU was asked for, and the image seems to use none: {source}"]
    elif not wish and needs == "required":
        warnings = [f"the image needs a GPU ({source}), and by --gpu 0 it gets none"]
    return ruled(_with(plan, wish), _RULE, "pass", evidence, warnings=warnings)


def _required(known: Known, plan: HardwarePlan, source: str) -> HardwarePlan:
    number = split_over(known)
    if known.candidates or not known.nodes:
        return ruled(_with(plan, number), _RULE, "pass", f"the image needs a GPU ({source})")
    if known.sure("gpu_need"):
        return ruled(
            _with(plan, number),
            _RULE,
            "fail",
            f"the image needs a GPU ({source}), and no node has one",
            hint="Add a node with a GPU; or say --gpu 0 if it serves without.",
        )
    why = f"the image seems to need a GPU ({source}); no node has one, and it is tried without"
    return ruled(plan, _RULE, "unknown", why, warnings=[why])


def _optional(known: Known, plan: HardwarePlan, source: str) -> HardwarePlan:
    weights, may = weights_of(known), f"the image may use a GPU ({source})"
    if weights is None or weights.mib < known.gpu_from_mib:
        has, given_from = memories(weights.mib if weights else None, known.gpu_from_mib)
        size = f"weights of {has}" if weights else "no weights in the image"
        evidence = f"{may}; {size}, and without a word a GPU is given from {given_from}"
        why = f"{may}, and gets none as none was asked for"
        return ruled(plan, _RULE, "pass", evidence, warnings=[why])
    evidence = f"{may}; weights of {memory(weights.mib)} ({weights.where})"
    if not known.candidates:
        why = f"{evidence} would be served better by a GPU, and no node has one"
        return ruled(plan, _RULE, "pass", evidence, warnings=[why])
    return ruled(_with(plan, split_over(known)), _RULE, "pass", evidence)


def _with(plan: HardwarePlan, number: int) -> HardwarePlan:
    target = "gpu" if number else "cpu"
    return plan.model_copy(update={"target": target, "gpu_count": number})
