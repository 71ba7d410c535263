"""Rule ``estimate``: how much memory a version will use, by what is in its image.

Weights, and the key-value cache of a language model where its sizes are in the image and its
command, environment or labels declare how much it keeps of how many requests. Whatever else a
program uses is not known before it runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from longshore.core.quantities import memory
from longshore.core.types import HardwarePlan
from longshore.hardware.rules.known import Known, ruled
from longshore.hardware.rules.weights import Weights, split_over, weights_of, words_of

RULE = "estimate"

CONTEXT = {
    "--max-model-len": "vllm",
    "--context-length": "SGLang",
}
SEQUENCES = {
    "--max-num-seqs": "vllm",
    "--max-running-requests": "SGLang",
}
_VARIABLES = {"MAX_MODEL_LEN": CONTEXT, "MAX_NUM_SEQS": SEQUENCES}
CONTEXT_LABEL, SEQUENCES_LABEL = "longshore.context-length", "longshore.sequences"

_BYTES = {"float16": 2, "half": 2, "bfloat16": 2, "float32": 4, "float": 4}
_CACHE_TYPE = "--kv-cache-dtype"
_NUMBER = re.compile(r"([0-9]{1,9})([kKmM]?)")
_TIMES = {"": 1, "k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20}
"""As vllm reads them."""
_MIB = 2**20

TAKES_ALL = ("vllm", "sglang", "tensorrt-llm", "tensorflow", "tensorflow-gpu", "jax")
"""These take a share of whatever GPU they get, unless they are told otherwise."""
_UNLESS = {
    "tensorflow": ("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
    "tensorflow-gpu": ("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
    "jax": ("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
}


@dataclass(frozen=True, slots=True)
class _Cache:
    """A key-value cache."""

    mib: int
    told: str


def estimate(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Tell what a version will use of each GPU, or of memory without one, and what that is of."""
    weights = weights_of(known)
    changes: dict[str, object] = {"gpu_mem_takes_all": _takes_all(known) if plan.gpu_count else ""}
    if weights is None:
        return plan.model_copy(update=changes)
    if not plan.gpu_count:
        changes["memory_estimate_mib"] = weights.mib
        return ruled(plan, RULE, "pass", f"memory: {_in_words(weights)}", changes=changes)
    cache = _cache(known, weights)
    share = max(split_over(known), plan.gpu_count)
    whole = weights.mib + (cache.mib if cache else 0)
    changes["gpu_mem_estimate_mib"] = -(-whole // share)
    told = _in_words(weights) + (f" + {cache.told}" if cache else "")
    told += f", over {share} GPUs" if share > 1 else ""
    each = -(-whole // share)
    largest = max((gpu.memory_mib for _, gpu in known.gpus if gpu.memory_mib), default=None)
    if cache and largest is not None and each > largest and weights.mib // share <= largest:
        why = f"the largest GPU has {memory(largest)}, which may be too little for {told}"
        return ruled(plan, RULE, "unknown", f"GPU memory: {told}", warnings=[why], changes=changes)
    return ruled(plan, RULE, "pass", f"GPU memory: {told}", changes=changes)


def _in_words(weights: Weights) -> str:
    size = "" if weights.sure else ", by their size on disk"
    return f"weights of {memory(weights.mib)} ({weights.where}{size})"


def _cache(known: Known, weights: Weights) -> _Cache | None:
    """Return the key-value cache; None unless its sizes and its context are told."""
    sizes = _sizes(known, weights)
    context = _declared(known, CONTEXT, "MAX_MODEL_LEN", CONTEXT_LABEL)
    if sizes is None or context is None:
        return None
    layers, heads, width, dtype, path = sizes
    bytes_, type_ = _type(known, dtype)
    if bytes_ is None:
        return None
    tokens, tokens_by = context
    sequences, by = _declared(known, SEQUENCES, "MAX_NUM_SEQS", SEQUENCES_LABEL) or (1, "none told")
    size = 2 * layers * heads * width * bytes_ * tokens * sequences
    mib = -(-size // _MIB)
    return _Cache(
        mib,
        f"key-value cache of {memory(mib)} (2 x {layers} layers x {heads} heads x {width} x "
        f"{bytes_} bytes, {type_}, of /{path}; x {tokens} tokens, {tokens_by}; x {sequences} "
        f"sequence{'s' * (sequences > 1)}, {by})",
    )


def _sizes(known: Known, weights: Weights) -> tuple[int, int, int, str, str] | None:
    fact = known.fact("model_config")
    for each in fact.value if fact is not None and isinstance(fact.value, list) else ():
        match each:
            case {
                "path": str(path),
                "layers": int(layers),
                "kv_heads": int(heads),
                "head_dim": int(width),
                "dtype": str(dtype),
            } if path.rpartition("/")[0] == weights.folder:
                return layers, heads, width, dtype, path
    return None


def _type(known: Known, dtype: str) -> tuple[int | None, str]:
    """Return how many bytes a number in the cache has, and why; None where that is not known."""
    words = list(_options(known, (_CACHE_TYPE,)))
    if words and words[-1] != "auto":
        told = words[-1]
        return (1 if told.startswith("fp8") else _BYTES.get(told)), f"{_CACHE_TYPE} {told[:32]}"
    words = list(_options(known, ("--dtype",)))
    if words and words[-1] != "auto":
        return _BYTES.get(words[-1]), f"--dtype {words[-1][:32]}"
    # Servers of language models halve what was saved with 32 bits.
    return (min(_BYTES[dtype], 2) if dtype in _BYTES else None), dtype


def _declared(
    known: Known, options: dict[str, str], variable: str, label: str
) -> tuple[int, str] | None:
    """Return a number that is declared, and where; None where it is not."""
    for option in options:
        for word in _options(known, (option,)):
            if number := _number(word):
                return number, option
    env = {**known.config.env, **known.spec.env}
    if number := _number(env.get(variable, "")):
        return number, variable
    if number := _number(known.config.labels.get(label, "")):
        return number, f"label {label}"
    return None


def _options(known: Known, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the values of options in the command: ``--name value`` and ``--name=value``."""
    words = " ".join(words_of(known)).split()
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name in names:
            yield value if equals else following


def _number(text: str) -> int | None:
    found = _NUMBER.fullmatch(text)
    return int(found[1]) * _TIMES[found[2]] or None if found else None


def _takes_all(known: Known) -> str:
    """Return the software that takes a share of any GPU."""
    fact = known.fact("packages")
    env = {**known.config.env, **known.spec.env}
    for each in fact.value if fact is not None and isinstance(fact.value, list) else ():
        match each:
            case {"name": str(name), "version": str(version)} if name in TAKES_ALL:
                variable, value = _UNLESS.get(name, ("", ""))
                if not variable or env.get(variable, "").lower() != value:
                    return f"{name} {version}"
    return ""
