"""Train an example's model, put it into an image, and push that to a registry.

    python examples/parts/pack.py examples/iris localhost:5001/iris:1

Wheels are fetched outside the build and copied in, so the build itself needs no network.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from base_image import base_image, cache_directory
from engine_cli import PartMissing, find_engine_cli
from interrupts import end_on_signals

PYTHON = "3.11"
"""The Python of the base image, for which wheels are fetched."""

PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux2014", "manylinux_2_17")


def pack(example: Path, reference: str) -> None:
    """Make the image of an example and push it.

    Args:
        example: a directory with Containerfile, requirements.txt, train.py and server.py.
        reference: where to push it.

    Raises:
        PartMissing: there is no container engine.
        subprocess.CalledProcessError: a step failed; its own words are on standard error.
    """
    engine = find_engine_cli(cache_directory())
    base = base_image(engine)
    packages = fetch_packages(example / "requirements.txt")
    with tempfile.TemporaryDirectory(prefix="longshore-pack-") as scratch:
        context = Path(scratch)
        model = train(example, packages)
        _say(f"Building {reference}")
        for name in ("Containerfile", "server.py"):
            shutil.copy2(example / name, context / name)
        shutil.copytree(model, context / "model")
        shutil.copytree(packages, context / "packages", copy_function=_link)
        # Kept under a name of its own, whichever registry it goes to, for a quick next build.
        image = f"localhost/longshore-example-{example.resolve().name}"
        engine.build(context, image, BASE=base)
    _say(f"Pushing {reference}")
    engine.push_as(image, reference)


def fetch_packages(requirements: Path) -> Path:
    """Return a directory with the packages installed, ready to be copied into an image."""
    wanted = f"{PYTHON} {platform.machine()} {requirements.read_text()}"
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:16]
    target = cache_directory() / "packages" / digest
    if target.exists():
        return target
    _say(f"Fetching the packages of {requirements}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="incomplete-") as scratch:
        packages = Path(scratch, "packages")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--no-compile"]
        command += ["--disable-pip-version-check", "--only-binary=:all:"]
        command += [f"--python-version={PYTHON}", "--implementation=cp"]
        command += [f"--platform={each}_{platform.machine()}" for each in PLATFORMS]
        command += [f"--target={packages}", f"--requirement={requirements}"]
        subprocess.run(command, check=True)
        # Scripts that name this machine's interpreter; the image has another.
        shutil.rmtree(packages / "bin", ignore_errors=True)
        put(packages, target)
    return target


def train(example: Path, packages: Path) -> Path:
    """Train the model with the very packages that go into the image; return its directory."""
    source = (example / "train.py").read_bytes() + packages.name.encode()
    target = cache_directory() / "models" / hashlib.sha256(source).hexdigest()[:16]
    if target.exists():
        return target
    _say(f"Training {example.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="incomplete-") as scratch:
        model = Path(scratch, "model")
        model.mkdir()
        subprocess.run(
            [_python(), str(example / "train.py"), str(model)],
            env={**os.environ, "PYTHONPATH": str(packages)},
            check=True,
        )
        put(model, target)
    return target


def _python() -> str:
    """Return an interpreter that can load the packages: their compiled parts are for one Python."""
    if sys.version_info[:2] == tuple(int(part) for part in PYTHON.split(".")):
        return sys.executable
    found = shutil.which(f"python{PYTHON}")
    if not found:
        raise PartMissing(f"Python {PYTHON}", f"install python{PYTHON}, which trains the model")
    return found


def put(made: Path, target: Path) -> None:
    """Move what was made to its place; another run may have been quicker, with the same."""
    try:
        made.rename(target)
    except OSError:
        if not target.exists():
            raise


def _link(source: str, target: str) -> None:
    """Put a file into the build context without copying it where the file system allows."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _say(what: str) -> None:
    print(what, flush=True)


def main() -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(description="Pack an example into an image and push it.")
    parser.add_argument("example", type=Path, help="its directory, for instance examples/iris")
    parser.add_argument("reference", help="where to push, for instance localhost:5001/iris:1")
    parser.add_argument("--base", help="base image (default: LONGSHORE_BASE_IMAGE, or our own)")
    options = parser.parse_args()
    end_on_signals()
    if options.base:
        os.environ["LONGSHORE_BASE_IMAGE"] = options.base
    if not (options.example / "Containerfile").exists():
        sys.exit(f"Error: {options.example} holds no Containerfile.")
    try:
        pack(options.example, options.reference)
    except PartMissing as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"Error: {error.cmd[0]} {error.cmd[1]} failed; see above.\n"
            "Hint: does a registry listen there? Start one with: make registry"
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
