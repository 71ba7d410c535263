"""What builds, pushes and imports images: docker where an engine answers, else podman."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interrupts import held

CAP_SYS_RESOURCE = 24
"""Number of the capability (linux/capability.h) without which limits cannot be raised."""


class PartMissing(Exception):
    """A program is not there.

    Args:
        part: what is missing.
        remedy: how to get it.
    """

    def __init__(self, part: str, remedy: str) -> None:
        super().__init__(f"{part} is missing: {remedy}")
        self.part = part
        self.remedy = remedy


ATTEMPTS = 5
"""To list images: Podman fails all of the list for one that somebody else removes meanwhile."""


@dataclass(frozen=True)
class EngineCli:
    """A container engine's command line.

    Args:
        program: ``docker`` or ``podman``.
        environment: what to add to the process's environment.
    """

    program: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, quiet: bool = True) -> str:
        """Run a command and return what it printed.

        Ctrl-C has to wait for its end: cut short, a build leaves its working container behind,
        and a push its temporary files.

        Args:
            arguments: what comes after the program's name.
            quiet: keep its messages to ourselves unless it fails.

        Raises:
            subprocess.CalledProcessError: it failed; its messages went to standard error.
        """
        done = self._run(arguments, quiet=quiet)
        if done.returncode:
            sys.stderr.write(done.stderr or "")
            done.check_returncode()
        return done.stdout

    def attempt(self, *arguments: str) -> str | None:
        """Run a command that may fail; return what it printed, or None where it failed."""
        done = self._run(arguments)
        return None if done.returncode else done.stdout

    def _run(
        self, arguments: Sequence[str], *, quiet: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        with held():
            return subprocess.run(
                [self.program, *arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if quiet else None,
                start_new_session=True,
                text=True,
                check=False,
            )

    def has_image(self, reference: str) -> bool:
        """Return whether the engine has the image."""
        # Not by a list, which may fail.
        return self.attempt("image", "inspect", reference) is not None

    def forget(self, registry: str) -> None:
        """Remove what the engine has of a registry that is no more; what is in use stays."""
        listing = ("images", "--digests", "--format", "{{.Repository}}@{{.Digest}}")
        for _ in range(ATTEMPTS):
            listed = self.attempt(*listing, "--filter", f"reference={registry}/*")
            if listed is not None:
                for reference in listed.split():
                    self.attempt("rmi", reference)
                return

    def label(self, reference: str, name: str) -> str:
        """Return what an image's label says; empty if there is no such label, or no such image."""
        if not self.has_image(reference):
            return ""
        template = f'{{{{with .Config.Labels}}}}{{{{index . "{name}"}}}}{{{{end}}}}'
        return self.run("image", "inspect", "--format", template, reference).strip()

    def import_root(self, archive: Path, reference: str, changes: Sequence[str] = ()) -> None:
        """Make an image out of a tar archive of a root file system."""
        options = [each for change in changes for each in ("--change", change)]
        self.run("import", *options, str(archive), reference)

    def build(
        self, context: Path, reference: str, *, cached: bool = True, **build_arguments: str
    ) -> None:
        """Build the Containerfile of a directory, without reaching for a newer base image.

        Args:
            context: the directory.
            reference: what to call the image.
            cached: share steps with other builds. Podman goes by the words of a step, not by the
                arguments in it, and whoever removes an image removes its steps from under others.
            build_arguments: for ``ARG``.
        """
        options = [
            each
            for name, value in build_arguments.items()
            for each in ("--build-arg", f"{name}={value}")
        ]
        if not cached:
            options.append("--layers=false" if self.program == "podman" else "--no-cache")
        options += ["--quiet", "--file", str(context / "Containerfile"), "--tag", reference]
        self.run("build", *options, str(context))

    def push_as(self, image: str, reference: str) -> None:
        """Push an image under another name, of which nothing stays here."""
        self.run("tag", image, reference)
        try:
            self.push(reference)
        finally:
            self.run("rmi", reference)

    def push(self, reference: str) -> None:
        """Push an image; registries on loopback may speak plain HTTP."""
        host = reference.partition("/")[0].rpartition(":")[0] or reference.partition("/")[0]
        plain = self.program == "podman" and (host == "localhost" or host.startswith("127."))
        self.run("push", *(["--tls-verify=false"] if plain else []), reference)


def find_engine_cli(cache: Path) -> EngineCli:
    """Return the command line to use.

    Args:
        cache: a directory for the configuration that podman may need.

    Raises:
        PartMissing: there is neither.
    """
    if shutil.which("docker") and _answers("docker"):
        return EngineCli("docker")
    if not shutil.which("podman"):
        raise PartMissing("a container engine", "install Docker, or: apt-get install podman runc")
    return EngineCli("podman", _podman_environment(cache))


def _answers(program: str) -> bool:
    try:
        done = subprocess.run([program, "info"], capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _podman_environment(cache: Path) -> dict[str, str]:
    """Return a configuration for hosts on which podman's defaults cannot start a container."""
    if "CONTAINERS_CONF" in os.environ:
        return {}
    lines = []
    capabilities = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line
    )
    if os.geteuid() == 0 and not int(capabilities.split()[1], 16) >> CAP_SYS_RESOURCE & 1:
        # Podman raises these limits for containers, which needs the capability.
        lines += ["[containers]", 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]']
    if shutil.which("runc") and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        # crun refuses hosts that have not moved to cgroup v2 altogether.
        lines += ["[engine]", 'runtime = "runc"']
    if not lines:
        return {}
    path = cache / "containers.conf"
    cache.mkdir(parents=True, exist_ok=True)
    # In one step: another run may be reading it.
    with tempfile.NamedTemporaryFile("w", dir=cache, delete=False) as fresh:
        fresh.write("\n".join(lines) + "\n")
    Path(fresh.name).replace(path)
    return {"CONTAINERS_CONF": str(path)}
