"""Build the platform's own image, and push it.

python deploy/image.py registry.example.com/longshore:0.1.0
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "examples" / "parts"))

from base_image import base_image, cache_directory  # noqa: E402 - needs the path
from engine_cli import EngineCli, PartMissing, find_engine_cli  # noqa: E402
from interrupts import end_on_signals  # noqa: E402
from pack import PLATFORMS, PYTHON, put  # noqa: E402

EXTRAS = ("postgres", "kubernetes")
"""What the image has of Longshore's extras."""

# Quiet twice: once for its remarks on package indexes, which are no news.
PIP = (sys.executable, "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check")


def build(engine: EngineCli, reference: str) -> None:
    """Build the image.

    Args:
        engine: builds it.
        reference: what to call it.

    Raises:
        subprocess.CalledProcessError: a step failed; its own words are on standard error.
    """
    base = base_image(engine)
    wanted = requirements()
    wheels = fetch_wheels(wanted)
    with tempfile.TemporaryDirectory(prefix="longshore-image-") as scratch:
        context = Path(scratch)
        _say(f"Building {reference}")
        build_wheel(context / "own")
        shutil.copytree(wheels, context / "wheels")
        (context / "requirements.txt").write_text(wanted)
        for name in ("Containerfile", "install.py"):
            shutil.copy2(REPOSITORY / "deploy" / name, context)
        engine.build(context, reference, BASE=base)


def requirements() -> str:
    """Return what Longshore needs in the image, as pip reads it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = (each for name in EXTRAS for each in project["optional-dependencies"][name])
    return "".join(f"{each}\n" for each in sorted({*project["dependencies"], *extras}))


def fetch_wheels(wanted: str) -> Path:
    """Return a directory with the wheels of what is wanted, and of pip."""
    digest = hashlib.sha256(f"{PYTHON} {platform.machine()} {wanted}".encode()).hexdigest()[:16]
    target = cache_directory() / "wheels" / digest
    if target.exists():
        return target
    _say("Fetching wheels")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="incomplete-") as scratch:
        listed = Path(scratch, "requirements.txt")
        listed.write_text(wanted)
        wheels = Path(scratch, "wheels")
        command = [*PIP, "download", f"--dest={wheels}", "--only-binary=:all:"]
        command += [f"--python-version={PYTHON}", "--implementation=cp"]
        command += [f"--platform={each}_{platform.machine()}" for each in PLATFORMS]
        subprocess.run([*command, f"--requirement={listed}", "pip"], check=True)
        put(wheels, target)
    return target


def build_wheel(target: Path) -> None:
    """Put Longshore's own wheel into a directory."""
    # By a copy of the sources, for building leaves files beside them.
    with tempfile.TemporaryDirectory(prefix="longshore-source-") as scratch:
        source = Path(scratch, "longshore")
        ignored = shutil.ignore_patterns(".*", "tests", "build", "*.egg-info", "__pycache__")
        shutil.copytree(REPOSITORY, source, symlinks=True, ignore=ignored)
        command = [*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run([*command, f"--wheel-dir={target}", source], check=True)


def _say(what: str) -> None:
    print(what, flush=True)


def main() -> None:
    """Build and push what the command line names."""
    parser = argparse.ArgumentParser(description="Build the platform's image and push it.")
    parser.add_argument("reference", help="where to push, for instance localhost:5001/longshore:1")
    parser.add_argument("--base", help="base image (default: LONGSHORE_BASE_IMAGE, or our own)")
    parser.add_argument("--no-push", action="store_true", help="leave it in the engine")
    options = parser.parse_args()
    end_on_signals()
    if options.base:
        os.environ["LONGSHORE_BASE_IMAGE"] = options.base
    try:
        engine = find_engine_cli(cache_directory())
        build(engine, options.reference)
        if not options.no_push:
            _say(f"Pushing {options.reference}")
            engine.push(options.reference)
    except PartMissing as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"Error: {' '.join(map(str, error.cmd[:4]))} failed; see above.\n"
            "Hint: --no-push leaves the image in the engine."
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
