"""The stand-in for a platform, and the command line called in this process."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from parts.cli_program import Call
from parts.management_api import StandIn, running

from longshore.core.cli import build_cli


@pytest.fixture
def api() -> Iterator[StandIn]:
    """A platform's API without a platform behind it."""
    with running(StandIn()) as state:
        yield state


@pytest.fixture
def call(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a command against the stand-in, and return what it printed and its exit status."""
    monkeypatch.setattr("longshore.core.cli.waiting.POLL", 0.01)

    def call(*arguments: str, stdin: str | bytes | None = None, **variables: str) -> Result:
        environment = {"LONGSHORE_URL": api.url, "LONGSHORE_API_KEY": None, **variables}
        return CliRunner().invoke(build_cli(), arguments, input=stdin, env=environment)

    return call
