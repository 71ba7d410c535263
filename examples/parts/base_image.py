"""A small Python base image out of Debian packages, made without an image registry.

On Debian 12 a handful of packages is fetched, unpacked and imported, which takes seconds.
Elsewhere, or where ``LONGSHORE_BASE_IMAGE`` names another one, that image is used.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from engine_cli import EngineCli

ELSEWHERE = "docker.io/library/python:3.11-slim"
REFERENCE = "localhost/longshore-python:3.11"

RECIPE = "io.longshore.recipe"
"""Label of the image: which state of this file made it."""

PACKAGES = (
    "base-files",
    "busybox-static",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libsqlite3-0",
    "libssl3",
    "libstdc++6",
    "libuuid1",
    "media-types",
    "python3.11-minimal",
    "zlib1g",
)
"""Python's standard library, and the C++ runtime that numerical wheels need."""

USERS = "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n"
GROUPS = "root:x:0:\nnonroot:x:65532:\n"


def cache_directory() -> Path:
    """Return where examples and tests keep what is costly to make again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "longshore"


def base_image(engine: EngineCli) -> str:
    """Return the reference of a base image with Python 3.11 that the engine has or can pull."""
    named = os.environ.get("LONGSHORE_BASE_IMAGE")
    if named:
        return named
    if not _on_debian_12():
        return ELSEWHERE
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    if engine.label(REFERENCE, RECIPE) != recipe:
        print("Making a base image out of Debian packages", flush=True)
        _assemble(engine, recipe)
    return REFERENCE


def _on_debian_12() -> bool:
    release = Path("/etc/os-release")
    tools = shutil.which("apt-get") and shutil.which("dpkg-deb")
    return bool(tools) and release.exists() and 'VERSION_ID="12"' in release.read_text()


def _assemble(engine: EngineCli, recipe: str) -> None:
    with tempfile.TemporaryDirectory(prefix="longshore-base-") as scratch:
        packages, root = Path(scratch, "packages"), Path(scratch, "root")
        packages.mkdir()
        _lay_out(root)
        # As root, apt would step down to a user that cannot write here, and warn about it.
        command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
        if subprocess.run(command, cwd=packages, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "update"], capture_output=True, check=False)
            subprocess.run(command, cwd=packages, stdout=subprocess.DEVNULL, check=True)
        for package in sorted(packages.glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
        _finish(root)
        archive = Path(scratch, "root.tar")
        with tarfile.open(archive, "w") as tar:
            tar.add(root, arcname=".", filter=_owned_by_root)
        engine.import_root(
            archive,
            REFERENCE,
            [
                "ENV PATH=/usr/local/bin:/usr/bin:/bin",
                "ENV PYTHONUNBUFFERED=1",
                'CMD ["/usr/bin/python3"]',
                f"LABEL {RECIPE}={recipe}",
            ],
        )


def _lay_out(root: Path) -> None:
    """Make the directories that packages expect to find merged into /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")


def _finish(root: Path) -> None:
    """Do what the packages' own scripts would do."""
    for name in ("etc", "tmp", "root", "run", "usr/local/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
    links = {
        "usr/bin/sh": "busybox",
        "usr/bin/python3": "python3.11",
        "usr/local/bin/python": "/usr/bin/python3.11",
    }
    for link, target in links.items():
        (root / link).unlink(missing_ok=True)
        (root / link).symlink_to(target)
    shutil.rmtree(root / "usr/share/doc", ignore_errors=True)
    shutil.rmtree(root / "usr/share/man", ignore_errors=True)


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
