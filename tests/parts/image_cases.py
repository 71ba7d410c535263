"""How images with known facts are made, and what is known of one."""

import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base_image import cache_directory
from parts.layers import (
    SITE,
    chunked,
    gzipped,
    package,
    tar,
)

METADATA = Path(__file__).parent / "metadata"
XGBOOST = ("50", "60", "70", "80", "90", "100", "120")
ONNXRUNTIME = ("75", "80", "86", "89", "90a", "120a")
MANYLINUX = ("_2_28", "_2_27", "_2_24", "_2_17", "2014")
WHEELS = {
    "lightgbm==4.7.0": "none",
    "onnxruntime==1.32.0": "none",
    "bitsandbytes==0.50.2": "optional",
    "ctranslate2==4.8.5": "optional",
    "jax-cuda12-plugin==0.10.2": "optional",
}
"""What their makers say of them."""
VENV = "opt/venv/lib/python3.12/site-packages"


@dataclass(frozen=True)
class Case:
    """An image, and what must be told of it.

    Args:
        layers: makes them, the lowest first, some with annotations; only when the case is run.
        expected: every fact that must be told but ``scan``, ``platforms`` and ``ports``.
        env, labels, cmd: of its configuration.
    """

    name: str
    layers: Callable[[], Sequence[bytes | tuple[bytes, Mapping[str, str]]]]
    expected: Mapping[str, Any]
    env: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    cmd: Sequence[str] = ()
    architecture: str = "amd64"
    variant: str = ""
    beside: str = ""
    """Another platform whose image, with torch for CUDA in it, is in the same index."""
    wheels: Sequence[str] = ()
    """What must be downloaded for it."""
    only: Sequence[str] = ()
    """The facts that are known of it from elsewhere, where not all are."""


def torch(version: str, local: str = "", site: str = SITE) -> dict[str, bytes]:
    """Return torch's own METADATA as PyPI has it, with the suffix of another build if wanted."""
    content = (METADATA / f"torch-{version}").read_bytes()
    if local == "+cpu":
        # What the builds for CPUs leave out; theirs are not on PyPI.
        lines = content.splitlines(keepends=True)
        lines = [each for each in lines if b"nvidia-" not in each and b"cuda-" not in each]
        content = b"".join(lines)
    content = content.replace(
        f"\nVersion: {version}\n".encode(), f"\nVersion: {version}{local}\n".encode()
    )
    return package("torch", f"{version}{local}", owns=["torch"], site=site, metadata=content)


def wheel(requirement: str) -> dict[str, bytes]:
    """Return a wheel's files where pip puts them, downloaded once."""
    folder = cache_directory() / "wheels" / requirement
    if not list(folder.glob("*.whl")):
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary=:all:", "--python-version=3.11"),
                *(f"--platform=manylinux{each}_x86_64" for each in MANYLINUX),
                *("--dest", str(folder), requirement),
            ],
            check=True,
        )
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as packed:
        return {f"{SITE}/{name}": packed.read(name) for name in packed.namelist()}


def enormous(parameters: int) -> tuple[bytes, Mapping[str, str]]:
    """Return a layer with a file of so many parameters, of which only the beginning is there."""
    header = b'{"a":{"dtype":"BF16","shape":[%d],"data_offsets":[0,%d]}}'
    header %= (parameters, 2 * parameters)
    content = len(header).to_bytes(8, "little") + header + bytes(5000)

    def cut_short(table: Any) -> Any:
        table["entries"][0]["endOffset"] = table["entries"][-1]["offset"]
        return table

    files = {"m.safetensors": content, "aside.csv": bytes(range(256)) * 4000}
    claims = {"m.safetensors": 8 + len(header) + 2 * parameters}
    return chunked(files, claims=claims, change=cut_short)


def packages(*described: tuple[str, str] | tuple[str, str, str]) -> list[tuple[str, str]]:
    """Return names and versions as the fact lists them."""
    return sorted((each[0], each[1]) for each in described)


def plain(*files: Mapping[str, bytes | None]) -> Callable[[], Sequence[bytes]]:
    """Return layers in gzip, one for each mapping."""
    return lambda: [gzipped(tar(each)) for each in files]
