"""``longshore hardware report IMAGE``: the program against real registries, with no platform."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from parts.cli_program import terminal
from parts.handmade import RunningRegistry
from parts.image_cases import torch
from parts.image_materials import ONNX_FILES, SKLEARN, XGBOOST_FILES
from parts.layers import SITE, gguf, gzipped, package, safetensors, tar

from longshore.core.cli import build_cli

USER, PASSWORD = "longshoreman", "corr=ect:horse"
FILES = {
    **torch("2.9.0"),
    **XGBOOST_FILES,
    **ONNX_FILES,
    **SKLEARN,
    **{path: text for each in range(9) for path, text in package(f"p{each}", "1.0").items()},
    f"{SITE}/evil-1.dist-info/METADATA": b"Name: ev\x1b[31mil\nVersion: 1\n",
    "models/a.safetensors": safetensors({"a": ("BF16", [50, 1000], 100_000)}),
    "models/b.gguf": gguf({"t": ("Q4_K", [256, 32])}),
}


def config(**container: Any) -> dict[str, Any]:
    return {"os": "linux", "architecture": "amd64", "config": container}


def test_what_is_not_known_is_said(registry: RunningRegistry, tmp_path: Path) -> None:
    registry.image("empty", "1", config(), layers=(gzipped(tar({"a": b"x"})),))
    rows = report(tmp_path, f"{registry.host}/empty:1").stdout.splitlines()
    [weights] = [row.split() for row in rows if row.startswith("weights")]
    assert weights == ["weights", "unknown", "-"]
    shown = report(tmp_path, f"{registry.host}/empty:1", "--explain").stdout
    assert "CUDA version: unknown" in shown


@pytest.fixture
def image(registry: RunningRegistry) -> str:
    """The reference of an image with something of everything in it."""
    env = ["OMP_NUM_THREADS=4", "CUDA_VERSION=12.8.1"]
    container = config(Env=env, ExposedPorts={"8080/tcp": {}}, Cmd=["gunicorn", "-w", "3"])
    registry.image("report", "1", container, layers=(gzipped(tar(FILES)),))
    return f"{registry.host}/report:1"


def report(folder: Path, *arguments: str) -> Result:
    options = ("hardware", "report", "--state", str(folder / "state"))
    return CliRunner().invoke(build_cli(), [*options, *arguments])


def test_each_fact_is_one_line(image: str, tmp_path: Path) -> None:
    ended = report(tmp_path, image)
    assert ended.exit_code == 0, ended.stderr
    assert ended.stderr == ""
    title, heading, *rows = ended.stdout.splitlines()
    assert title.startswith(image.partition(":1")[0].rpartition("/")[0])
    assert "/report@sha256:" in title
    assert heading.split() == ["FACT", "CONFIDENCE", "VALUE"]
    told = {}
    for row in rows[: rows.index("")]:
        name, confidence, value = (each for each in row.split("  ") if each.strip())
        told[name.strip()] = (confidence.strip(), value.strip())
    layers = told.pop("scan")
    assert layers[0] == "exact"
    assert layers[1].startswith("complete: 1 of 1 layers, ")
    assert told == {
        "platforms": ("exact", "linux/amd64"),
        "GPU need": ("inferred", "optional"),
        "CUDA version": ("declared", "12.8.1"),
        "NVIDIA driver": ("declared", "525 or newer"),
        "GPU code, SASS": (
            "exact",
            "onnxruntime-gpu: 75 80 86 89 90a 120a; xgboost: 50 60 70 80 90 100 120",
        ),
        "GPU code, PTX": ("exact", "xgboost: 120"),
        "packages": (
            "exact",
            (
                "torch 2.9.0, onnxruntime-gpu 1.31.1, xgboost 3.2.0, scikit-learn 1.7.0, "
                "numpy 2.3.1 and 9 more"
            ),
        ),
        "weights": (
            "exact",
            (
                "3 files, safetensors, gguf, pickle, 112.9 KiB, 50 k parameters of BF16, "
                "8.19 k parameters of Q4_K"
            ),
        ),
        "ports": ("exact", "8080"),
        "threads": ("declared", "OMP_NUM_THREADS=4, 3 worker processes"),
    }


def test_explained_each_fact_has_its_evidence(image: str, tmp_path: Path) -> None:
    shown = report(tmp_path, image, "--explain").stdout
    for each in (
        "GPU need: optional",
        "    inferred, by onnxruntime-gpu 1.31.1 (layer sha256:",
        f"/{SITE}/xgboost/lib/libxgboost.so",
        "CUDA version: 12.8.1",
        "    declared, by environment variable CUDA_VERSION",
        f"    - torch 2.9.0  /{SITE}/torch-2.9.0.dist-info/METADATA",
        "    - p8 1.0  ",
        "    - /models/a.safetensors: safetensors, 97.8 KiB, 50 k parameters of BF16",
    ):
        assert each in shown, each


def test_json_is_the_profile(image: str, tmp_path: Path) -> None:
    document = json.loads(report(tmp_path, image, "--json").stdout)
    assert document["image"]["reference"] == image
    assert document["facts"]["gpu_need"]["value"] == "optional"
    assert document["facts"]["sm_ptx"]["confidence"] == "exact"
    assert document["facts"]["scan"]["value"]["complete"] is True


def test_what_was_not_read_is_told_on_the_side(registry: RunningRegistry, tmp_path: Path) -> None:
    registry.image("broken", "1", config(), layers=(b"no layer", gzipped(tar(SKLEARN))))
    ended = report(tmp_path, f"{registry.host}/broken:1")
    assert ended.exit_code == 0
    assert "Warning: not all of the image was read: layer sha256:" in ended.stderr
    assert "ends in the midst of an entry" in ended.stderr
    assert "incomplete: 1 of 2 layers" in ended.stdout
    assert "scikit-learn 1.7.0" in ended.stdout


def test_logins_and_plugins_come_from_the_configuration(
    password_registry: RunningRegistry, tmp_path: Path
) -> None:
    password_registry.image("secret", "1", config(), layers=(gzipped(tar(SKLEARN)),))
    reference = f"{password_registry.host}/secret:1"
    refused = report(tmp_path, reference, "--json")
    assert refused.exit_code != 0
    (tmp_path / "mine.py").write_text(
        "from longshore import *\n\n@hookimpl\ndef longshore_profile_image(image):\n"
        '    return {"licence": Evidence(value="MIT", source="a list", confidence="declared")}\n'
    )
    (tmp_path / "failing.py").write_text(
        "from longshore import *\n\n@hookimpl\ndef longshore_profile_image(image):\n"
        '    raise OSError("disk full")\n'
    )
    file = tmp_path / "plugins.toml"
    file.write_text(
        f'[longshore.registries."{password_registry.host}"]\n'
        f'username = "{USER}"\npassword = "{PASSWORD}"\n'
        '[[plugin]]\npath = "mine.py"\n[[plugin]]\npath = "failing.py"\n'
        '[[plugin]]\nname = "images"\nsettings = { read_layers = false }\n'
    )
    ended = report(tmp_path, reference, "--config", str(file))
    assert ended.exit_code == 0, ended.stderr
    assert "licence" in ended.stdout
    assert "MIT" in ended.stdout
    why = "Warning: plugin failing failed in longshore_profile_image: OSError: disk full"
    assert why in ended.stderr
    assert "scikit-learn" not in ended.stdout


@pytest.mark.parametrize(
    ("reference", "status", "message"),
    [
        ("UPPER", 2, "is no image reference"),
        ("localhost:1/iris:1", 1, "registry localhost:1 does not answer"),
        ("", 2, "no image"),
    ],
)
def test_an_image_that_is_not_there_is_an_error(
    reference: str, status: int, message: str, tmp_path: Path
) -> None:
    ended = report(tmp_path, reference)
    assert ended.exit_code == status
    assert message in ended.stderr


def test_on_a_terminal_confidences_are_coloured_and_lines_fit(image: str, tmp_path: Path) -> None:
    arguments = ("hardware", "report", image, "--state", str(tmp_path))
    with terminal(*arguments, url="http://127.0.0.1:9", columns=70) as shown:
        assert shown.end() == 0
    assert "\x1b[33minferred\x1b[0m" in shown.shown
    assert "reading " in shown.shown
    assert "…" in shown.shown
