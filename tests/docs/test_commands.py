"""Every command block of the documentation is run, in the order of its page, as it stands there.

Only where the repository lies is ours to change: `.venv/bin/` becomes the environment that runs the
tests, and the ports are those that the pages name, so nothing else may use them meanwhile.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.blocks import PAGES, REPOSITORY, Block, blocks
from engine_cli import EngineCli
from parts.kubectl import Kubectl
from parts.platform import until

from longshore.core.plugins_file import read_plugins_file

BIN = Path(sys.executable).parent
SERVERS = {"make registry": 5001, ".venv/bin/longshore up": 8000}
"""Commands that run until Ctrl-C, and the port on which each then answers."""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Shell:
    """Runs commands in the repository; servers go on in the background."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.environment = dict(os.environ)
        self.servers: list[subprocess.Popen[bytes]] = []

    def serve(self, command: str) -> None:
        port = SERVERS[command]
        if answers(port):
            pytest.fail(f"port {port}, which the page names, is taken: stop what listens there")
        line = {
            "make registry": f"{sys.executable} examples/parts/oci_registry.py "
            f"--port 5001 --root {self.scratch / 'registry'}",
            ".venv/bin/longshore up": f"{BIN}/longshore up --state {self.scratch / 'state'}",
        }[command]
        self.servers.append(subprocess.Popen(line.split(), cwd=REPOSITORY, env=self.environment))
        assert until(lambda: answers(port)), command

    def run(self, command: str) -> str:
        line = command.replace(".venv/bin/", f"{BIN}/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def close(self) -> None:
        for server in reversed(self.servers):
            server.send_signal(signal.SIGINT)
            server.wait(60)


@pytest.fixture
def shell(tmp_path: Path, engine_cli: EngineCli) -> Iterator[Shell]:
    opened = Shell(tmp_path)
    try:
        yield opened
    finally:
        opened.close()


def test_the_registry_in_make_is_the_one_that_runs_here() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "examples/parts/oci_registry.py --port 5001" in makefile


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_work_one_after_the_other(page: Path, shell: Shell) -> None:
    here = [each for each in blocks(page, "bash") if not each.elsewhere]
    if not here:
        return
    commands = [command for block in here for command in block.commands]
    # A page that does not start them itself stands on those of the README.
    for server in SERVERS:
        if server not in commands:
            shell.serve(server)
    for command in commands:
        if command in SERVERS:
            shell.serve(command)
        else:
            shown = shell.run(command)
            if "predict" in command and "curl" in command:
                assert "predictions" in shown, shown


@pytest.mark.kubernetes
def test_the_readme_works_on_a_cluster_word_for_word(
    cluster: str, kubectl: Kubectl, shell: Shell
) -> None:
    nodes = kubectl.get("nodes")["items"]
    if {each["address"] for node in nodes for each in node["status"]["addresses"]}.isdisjoint(
        subprocess.run(
            ["hostname", "-I"], capture_output=True, text=True, check=True
        ).stdout.split()
    ):
        pytest.skip(f"the cluster of {cluster} is elsewhere: it cannot pull from this machine")
    if kubectl.run("get", "namespace", "longshore", "--ignore-not-found"):
        pytest.skip("the cluster has a namespace longshore, which Longshore would make")
    shell.environment["LONGSHORE_BACKEND"] = "kubernetes"
    readme = next(page for page in PAGES if page.name == "README.md")
    shown = []
    try:
        for block in blocks(readme, "bash"):
            for command in () if block.elsewhere else block.commands:
                # Nodes know a registry by its name and port; one that runs there will do.
                if command == "make registry" and answers(SERVERS[command]):
                    continue
                if command in SERVERS:
                    shell.serve(command)
                    continue
                shown.append(shell.run(command))
                if " register " in command:
                    assert len(Kubectl("longshore").live_pods()) == 1, "it runs there"
        assert sum("predictions" in each for each in shown) == 2, shown
        assert until(lambda: not Kubectl("longshore").names("deployments"))
    finally:
        kubectl.run("delete", "namespace", "longshore", "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_leaves_to_another_test_is_run_there(page: Path) -> None:
    for block in blocks(page, "bash"):
        if block.elsewhere:
            named = REPOSITORY / block.elsewhere.split(",")[0]
            assert named.exists()
            assert all(command in named.read_text() for command in block.commands)


def every(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, language)]


@pytest.mark.parametrize("block", every("toml"), ids=lambda block: block.page.name)
def test_configuration_blocks_are_understood(block: Block, tmp_path: Path) -> None:
    assert tomllib.loads(block.text)
    if "[project" not in block.text:
        file = tmp_path / "plugins.toml"
        file.write_text(block.text)
        read_plugins_file(file)


@pytest.mark.parametrize("block", every("python"), ids=lambda block: block.page.name)
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, str(block.page), "exec")


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
