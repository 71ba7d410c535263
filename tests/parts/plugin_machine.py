"""A machine on which plugins are installed, and plugins to install there."""

import asyncio
import os
import textwrap
from collections.abc import Sequence
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from longshore.core.errors import StartRefused
from longshore.core.plugins import BUILT_IN, GROUP, Plugins, build_plugins
from longshore.core.plugins_file import read_plugins_file

GOOD = """
from longshore import hookimpl

@hookimpl
def longshore_score_node(node):
    return 50
"""
WITH_SETTINGS = """
from pydantic import BaseModel, Field
from longshore import hookimpl

class Plugin:
    class Settings(BaseModel):
        reserve: int = Field(gt=0)
        label: str = ""

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def longshore_score_node(self, node):
        return self.settings.reserve
"""


class Machine:
    """A folder with a plugins.toml, and distributions that are installed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.site.mkdir()

    def install(
        self, name: str, code: str, *, value: str = "", by: str = "", version: str = "1.0"
    ) -> None:
        """Install a distribution that brings one plugin in one module."""
        by = by or f"longshore-{name}"
        module = by.replace("-", "_")
        (self.site / f"{module}.py").write_text(code)
        info = self.site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {by}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value or module}\n")

    def write(self, name: str, code: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def start(self, text: str, always: Sequence[str] = ()) -> Plugins:
        """Load a plugins.toml, without the built-in plugins."""
        path = self.write("plugins.toml", text)
        without = [f'[[plugin]]\nname = "{name}"\nenabled = false\n' for name in BUILT_IN]
        path.write_text(path.read_text() + "\n" + "".join(without))
        return build_plugins(read_plugins_file(path), always=always, installed=self.installed())

    def installed(self) -> list[EntryPoint]:
        found = distributions(path=[str(self.site)])
        return [point for each in found for point in each.entry_points.select(group=GROUP)]

    def refusal(self, text: str, always: Sequence[str] = ()) -> str:
        """Return what a start says that must fail, with the hint on a line of its own."""
        with pytest.raises(StartRefused) as caught:
            self.start(text, always)
        told = f"{caught.value.message}\n{caught.value.hint}"
        return told.replace(f"{self.folder}{os.sep}", "")


def scores(plugins: Plugins) -> list[tuple[str, object]]:
    """Return who scored a node, in the order in which they were asked, and how."""
    asked = dict.fromkeys(("version", "plan", "node"))
    answers, failures = asyncio.run(plugins.hooks.every("longshore_score_node", **asked))
    assert not failures
    return [(answer.plugin, answer.value) for answer in answers]
