"""Helm, as an operator runs it."""

import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "deploy" / "helm" / "longshore"

Objects = dict[tuple[str, str], Any]
"""Objects of Kubernetes by kind and name."""


class HelmMissing(Exception):
    """There is no helm program."""


class HelmRefused(Exception):
    """Helm would not; its words."""


def find_helm() -> str:
    """Return the program that came with the tests' packages, or another one.

    Raises:
        HelmMissing: there is neither.
    """
    beside = Path(sys.executable).with_name("helm")
    found = str(beside) if beside.exists() else shutil.which("helm")
    if not found:
        raise HelmMissing(f"helm is missing: its PyPI package has none for {platform.machine()}")
    return found


class Helm:
    """The chart in a namespace.

    Args:
        namespace: of the release.
        values: what is given on top of the chart's own.
    """

    def __init__(self, namespace: str, values: Mapping[str, Any]) -> None:
        self._program = find_helm()
        self._namespace = namespace
        self._values = values

    def run(self, *arguments: str, given: bool = True) -> str:
        """Run a command; return what it prints.

        Args:
            arguments: the command.
            given: whether it takes values.

        Raises:
            HelmRefused: it failed.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self._values, file)
            file.flush()
            command = [self._program, "--namespace", self._namespace, *arguments]
            command += ["--values", file.name] if given else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HelmRefused(done.stderr)
        return done.stdout

    def objects(self) -> Objects:
        """Return what the chart makes, without a cluster.

        Raises:
            HelmRefused: the values are wrong.
        """
        return by_name(self.run("template", "longshore", str(CHART)))


def by_name(documents: str) -> Objects:
    """Return the objects of a file by kind and name; each may be there once."""
    found = [each for each in yaml.safe_load_all(documents) if each]
    keyed = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(keyed) == len(found)
    return keyed
