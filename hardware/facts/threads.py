"""How many threads and processes a container starts, as far as its configuration says so."""

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from longshore.core.types import Confidence, Evidence, ImageConfig

if TYPE_CHECKING:
    from pydantic import JsonValue

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "RAYON_NUM_THREADS",
)
WORKERS = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "GRANIAN_WORKERS", "MLSERVER_PARALLEL_WORKERS")
ARGUMENTS = "GUNICORN_CMD_ARGS"
_SERVERS = re.compile(r"(?:^|/)(?:gunicorn|uvicorn|hypercorn|granian|fastapi)$")
_MOST = 4096


def thread_facts(config: ImageConfig) -> dict[str, Evidence]:
    """Return the fact, if there is one."""
    env = config.env
    value: dict[str, JsonValue] = {}
    sources = []
    for name in THREADS:
        if name in env:
            value[name] = env[name][:32]
            sources.append(f"environment variable {name}")
    workers = next(((name, env[name]) for name in WORKERS if _count(env.get(name, ""))), None)
    if workers:
        value["workers"] = int(workers[1])
        sources.append(f"environment variable {workers[0]}")
    elif found := _in_words(_split(env.get(ARGUMENTS, ""))):
        value["workers"] = found
        sources.append(f"environment variable {ARGUMENTS}")
    elif found := _of_command((*config.entrypoint, *config.cmd)):
        value["workers"] = found
        sources.append("the command of the image configuration")
    if not value:
        return {}
    source = ", ".join(sources)
    return {"threads": Evidence(value=value, source=source, confidence=Confidence.DECLARED)}


def _of_command(words: Sequence[str]) -> int | None:
    """Return how many workers a command starts, where a server is in it that is known."""
    if len(words) > 1 and words[-2] in {"-c", "-lc"}:
        words = _split(words[-1])
    at = next((at for at, word in enumerate(words) if _SERVERS.search(word)), None)
    return None if at is None else _in_words(words[at:])


def _in_words(words: Sequence[str]) -> int | None:
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, _, value = word.partition("=")
        if name in {"--workers", "-w"} and (found := _count(value or following)):
            return found
        if word.startswith("-w") and (found := _count(word[2:])):
            return found
    return None


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text[:_MOST])
    except ValueError:
        return []


def _count(text: str) -> int | None:
    fits = text.isascii() and text.isdigit() and len(text) <= 4 and int(text) > 0  # noqa: PLR2004 - thousands
    return int(text) if fits else None
