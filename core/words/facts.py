"""Facts about images as people read them."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from longshore.core.quantities import memory, size
from longshore.core.types import Evidence
from longshore.core.words.text import plain

_ORDER = (
    *("platforms", "gpu_need", "cuda_version", "min_driver", "sm_sass", "sm_ptx"),
    *("packages", "weights", "ports", "threads", "scan"),
)
"""The facts that there may be of every image; others follow them."""

_NAMES = {
    "gpu_need": "GPU need",
    "cuda_version": "CUDA version",
    "min_driver": "NVIDIA driver",
    "sm_sass": "GPU code, SASS",
    "sm_ptx": "GPU code, PTX",
    "model_config": "model's sizes",
    "gpu_memory_measured": "GPU memory measured",
}
_TOLD_FIRST = (
    *("vllm", "sglang", "tensorrt-llm", "torch", "tensorflow", "jax", "transformers"),
    *("onnxruntime-gpu", "onnxruntime", "xgboost", "lightgbm", "catboost", "scikit-learn"),
)
_MOST_TOLD = 5
_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def fact_names(facts: Mapping[str, Evidence]) -> list[str]:
    """Return the names of facts in the order of telling, those included that are not known."""
    return [*_ORDER, *(name for name in facts if name not in _ORDER)]


def fact_line(name: str, value: Any) -> str:
    """Return a fact about an image in one line: its name in words, and what it holds.

    Args:
        name: of the fact.
        value: as a decision keeps it: of a long list the beginning, and how many more there were.
    """
    match value:
        case [dict(), *_, str(more)]:
            return f"{fact_name(name)}: {fact_summary(name, value[:-1])} ({more}, not kept here)"
    return f"{fact_name(name)}: {fact_summary(name, value)}"


def fact_name(name: str) -> str:
    """Return what a fact is called."""
    return _NAMES.get(name, name.replace("_", " "))


def fact_summary(name: str, value: Any) -> str:
    """Return a value in one line; as JSON where it is not what the built-in plugin tells."""
    try:
        return _SUMMARIES.get(name, plain)(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return plain(value)


def fact_details(name: str, value: Any) -> list[str]:
    """Return what a summary leaves out, a line each."""
    try:
        if name == "packages":
            return [f"{each['name']} {each['version']}  /{each['path']}" for each in value]
        if name == "weights":
            return [f"/{each['path']}: {_weights([each])}" for each in value]
        if name == "scan":
            return [str(each) for each in value["skipped"]]
    except (KeyError, TypeError):
        pass
    return []


def _listed(value: list[Any]) -> str:
    return ", ".join(str(each) for each in value) or "none"


def _packages(value: list[dict[str, str]]) -> str:
    def rank(each: dict[str, str]) -> tuple[int, str]:
        known = each["name"] in _TOLD_FIRST
        return (_TOLD_FIRST.index(each["name"]) if known else len(_TOLD_FIRST), each["name"])

    first = sorted(value, key=rank)[:_MOST_TOLD]
    told = ", ".join(f"{each['name']} {each['version']}" for each in first)
    more = len(value) - len(first)
    return f"{told} and {more} more" if more else told


def _architectures(value: dict[str, list[str]]) -> str:
    return "; ".join(f"{owner}: {' '.join(held)}" for owner, held in value.items())


def _weights(value: list[dict[str, Any]]) -> str:
    formats = ", ".join(dict.fromkeys(str(each["format"]) for each in value))
    parameters: Counter[str] = Counter()
    for each in value:
        parameters.update(each.get("parameters", {}))
    told = [
        formats if len(value) == 1 else f"{len(value)} files, {formats}",
        size(sum(each["bytes"] for each in value)),
        *(f"{_short(number)} parameters of {kind}" for kind, number in parameters.items()),
        *dict.fromkeys(str(each["problem"]) for each in value if each.get("problem")),
    ]
    return ", ".join(told)


def _sizes(value: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{each['layers']} layers, {each['kv_heads']} key-value heads of {each['head_dim']}"
        f" (/{each['path']})"
        for each in value
    )


def _short(number: int) -> str:
    for unit, letter in _UNITS:
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return str(number)


def _threads(value: dict[str, Any]) -> str:
    told = [f"{name}={each}" for name, each in value.items() if name != "workers"]
    if "workers" in value:
        several = "es" * (value["workers"] != 1)
        told.append(f"{value['workers']} worker process{several}")
    return ", ".join(told)


def _scan(value: dict[str, Any]) -> str:
    how = "complete" if value["complete"] else "incomplete"
    return (
        f"{how}: {value['layers_read']} of {value['layers']} layers, {size(value['bytes'])}, "
        f"{value['entries']:,} {'file' if value['entries'] == 1 else 'files and folders'}"
    )


_SUMMARIES: Mapping[str, Callable[[Any], str]] = {
    "platforms": _listed,
    "ports": _listed,
    "packages": _packages,
    "sm_sass": _architectures,
    "sm_ptx": _architectures,
    "min_driver": lambda value: f"{value} or newer",
    "weights": _weights,
    "model_config": _sizes,
    "memory_measured": memory,
    "gpu_memory_measured": lambda value: f"{memory(value)} of each GPU",
    "threads": _threads,
    "labels": lambda value: ", ".join(f"{name}={each}" for name, each in value.items()) or "none",
    "scan": _scan,
}
