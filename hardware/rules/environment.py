"""Rules ``threads`` and ``gpu-hidden``: what hardware asks of a container's environment."""

from longshore.core.quantities import cores
from longshore.core.types import HardwarePlan
from longshore.hardware.facts.threads import thread_facts
from longshore.hardware.rules.known import Known, ruled

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

DEVICES = "NVIDIA_VISIBLE_DEVICES"
_CORE = 1000


def threads(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Let each worker process start as many threads as its share of the CPU limit has cores.

    What the user or the image sets is left alone.
    """
    if plan.cpu_millicores is None:
        return plan
    workers, source = _workers(known)
    number = max(1, plan.cpu_millicores // _CORE // workers)
    taken = {**known.config.env, **known.spec.env}
    env = {name: str(number) for name in THREADS if name not in taken}
    kept = [f"{name}={taken[name][:32]}" for name in THREADS if name in taken]
    limit, processes = cores(plan.cpu_millicores), f"{workers} worker process{'es' * (workers > 1)}"
    evidence = f"{limit} for {processes}"
    evidence += f" ({source})" if source else ""
    evidence += f"; left as set: {', '.join(kept)}" if kept else ""
    warnings = [
        f"{name}={taken[name][:32]} starts more threads than fit the CPU limit of {limit} with "
        f"{processes}"
        for name in THREADS
        if _number(taken.get(name, "")) > number
    ]
    changes = {"threads": number, "env": {**plan.env, **env}}
    return ruled(plan, "threads", "pass", evidence, warnings=warnings, changes=changes)


def gpu_hidden(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Hide GPUs from an image for CUDA that gets none.

    CUDA's base images ask for all of them, which takes GPUs from those that asked for them.
    """
    if plan.gpu_count or DEVICES in known.spec.env:
        return plan
    asks = DEVICES in known.config.env
    if not asks and known.fact("cuda_version") is None:
        return plan
    why = f"the image sets {DEVICES}" if asks else "the image brings CUDA"
    changes = {"env": {**plan.env, DEVICES: "void"}}
    return ruled(plan, "gpu-hidden", "pass", f"{why}, and gets no GPU", changes=changes)


def _workers(known: Known) -> tuple[int, str]:
    """Return how many worker processes it starts, the user's words counted, and who says so."""
    spec, config = known.spec, known.config
    words = {} if spec.command is None else {"cmd": spec.command}
    meant = config.model_copy(update={"env": {**config.env, **spec.env}, **words})
    fact = thread_facts(meant).get("threads")
    match fact.value if fact else None:
        case {"workers": int(number)} if fact:
            return number, fact.source.rpartition(", ")[2]
    return 1, ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - threads
