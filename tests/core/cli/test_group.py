import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from parts.cli_program import PROGRAM, Call, environment
from parts.management_api import Answer, Request, StandIn, problem

from longshore.core.cli import CLIENT_COMMANDS, build_cli

COMMANDS = [name for section in CLIENT_COMMANDS.values() for name in section]


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL where nobody listens, now or later."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def command(name: str) -> click.Command:
    cli = build_cli()
    found = cli.get_command(click.Context(cli), name)
    assert found
    return found


def test_without_arguments_all_commands_stand_under_their_headings() -> None:
    shown = CliRunner().invoke(build_cli(), [])
    assert shown.exit_code == 0
    for heading, names in CLIENT_COMMANDS.items():
        part = shown.stdout.partition(f"{heading}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == list(names)
        assert "..." not in part, "each summary fits into a line"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_summary_an_example_and_words_for_each_option(name: str) -> None:
    found = command(name)
    assert found.help
    assert found.help.splitlines()[0].endswith(".")
    assert f"  longshore {name}" in found.help
    for option in found.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help.endswith((".", "]")), option.help


@pytest.mark.parametrize("name", ["models", "show", "explain", "events", "traffic", "register"])
def test_what_reads_has_json(name: str) -> None:
    assert any("--json" in option.opts for option in command(name).params)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("modls", "Did you mean 'models'?"),
        ("--bogus", "--bogus"),
        ("register iris", "Missing argument 'VERSION'"),
        ("register Iris 1 x", "a model's name is a DNS label"),
        ("register iris .. x", "neither '.' nor '..'"),
        ("register iris 1 x --prot 5", "Did you mean '--port'?"),
        ("register iris 1 x --port 70000", "1<=x<=65535"),
        ("register iris 1 x --cpu many", "write cores (0.5) or millicores (500m)"),
        ("register iris 1 x --memory 512", "write it as 512Mi or 2Gi"),
        ("register iris 1 x --min 3 --max 2", "min (3) is larger than max (2)"),
        ("register iris 1 x --env A", "write NAME=VALUE"),
        ("register iris 1 x --env A=1 --env A=2", "set twice"),
        ("register iris 1 x --env 1-A=1", "--env"),
        ("register iris 1 x --health-path health", "starts with '/'"),
        ("register iris 1 x --command '", "No closing quotation"),
        ("show iris:1:2", "a version is 1 to 32 characters"),
        ("show iris:", "a version is 1 to 32 characters"),
        ("predict iris:1 --version 2 -d 1", "disagree"),
        ("predict iris -d @/no/such/file", "No such file"),
        ("predict iris -d 1 -H nothing", "write NAME: VALUE"),
        ("traffic iris 1", "write VERSION=WEIGHT"),
        ("traffic iris 1=-1", "write VERSION=WEIGHT"),
        ("traffic iris 1=1 1=2", "two weights"),
        ("traffic iris 1=0 2=0", "no version would get a request"),
        ("traffic iris 1=1 --clear", "--clear takes no weights"),
        ("traffic iris --sticky te", "none that describes the connection"),
        ("traffic iris --sticky a --no-sticky", "exclude each other"),
        ("traffic iris --shadow 3=0", "write VERSION or VERSION=PERCENT"),
        ("traffic iris --shadow 3=101", "above 0 and up to 100"),
        ("traffic iris --shadow 3=", "write VERSION or VERSION=PERCENT"),
        ("traffic iris --shadow a/b", "a version is 1 to 32 characters"),
        ("traffic iris --shadow 3 --no-shadow", "exclude each other"),
        ("traffic iris --clear --no-shadow", "--clear takes no weights and no other change"),
        ("logs iris --tail 10001", "0<=x<=10000"),
        ("models --url nowhere", "write http://HOST:PORT"),
        ("models --url ftp://x", "write http://HOST:PORT"),
        ("models --url http://[", "write http://HOST:PORT"),
    ],
)
def test_wrong_use_is_told_in_two_lines_and_nothing_is_sent(
    api: StandIn, call: Call, line: str, said: str
) -> None:
    ended = call(*line.split(" "))
    assert ended.exit_code == 2
    error, hint = ended.stderr.splitlines()
    assert error.startswith("Error: ")
    assert said in error
    assert hint.startswith("Hint: longshore ")
    assert ended.stdout == ""
    assert not api.requests


@pytest.mark.parametrize("line", ["models", "show iris", "predict iris -d 1", "logs iris:1"])
def test_without_a_platform_it_says_how_to_start_one(call: Call, nobody: str, line: str) -> None:
    ended = call(*line.split(), "--url", nobody)
    assert ended.exit_code == 1
    error, hint = ended.stderr.splitlines()
    assert error == f"Error: no Longshore answers at {nobody} (Connection refused)."
    assert "longshore up" in hint


def test_a_refusal_is_told_in_the_words_of_the_platform(call: Call, api: StandIn) -> None:
    api.intercept = lambda _: problem(422, "no node fits: too little memory", hint="Ask for less.")
    ended = call("register", "iris", "1", "x")
    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        "Error: no node fits: too little memory.",
        "Hint: Ask for less.",
    ]


def test_names_that_resemble_the_one_typed_are_told_once(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    assert "Hint: Did you mean iris:1?" in call("show", "iris:2").stderr
    api.intercept = lambda _: problem(404, "none", nearest=["iris"], hint="Did you mean iris?")
    assert call("show", "irs:1").stderr.count("iris") == 1


def test_words_of_others_cannot_command_the_terminal_or_add_lines(call: Call, api: StandIn) -> None:
    api.intercept = lambda _: problem(
        422, "bad\nHint: run\x1b[2J this\x07", log_tail=["\x1b]0;x\x07y"]
    )
    lines = call("show", "iris:1").stderr.splitlines()
    assert lines == ["Error: bad Hint: run this.", "  | y"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<h1>It works!</h1>", "text/html"),
        Answer(502, b"<h1>Bad gateway</h1>", "text/html"),
        Answer(302, b""),
        Answer(200, b"[]"),
        Answer(200, b'{"other": []}'),
        Answer(200, b'{"models": [{"name": "iris"}]}'),
    ],
)
def test_something_else_than_longshore_is_told_as_that(
    call: Call, api: StandIn, answer: Answer
) -> None:
    api.intercept = lambda _: answer
    ended = call("models")
    assert ended.exit_code == 1
    assert "Does Longshore listen there" in ended.stderr


def test_what_a_newer_platform_tells_besides_is_passed_over(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    document = json.loads(call("models", "--json").stdout)
    document["models"][0]["versions"][0]["status"]["mood"] = "good"
    api.intercept = lambda _: Answer(body=json.dumps({**document, "more": 1}).encode())
    assert json.loads(call("models", "--json").stdout)["models"][0]["name"] == "iris"


def test_an_answer_that_breaks_off_is_an_error(call: Call, api: StandIn) -> None:
    api.intercept = lambda _: Answer(body=b'{"models": [', broken=True)
    ended = call("models")
    assert ended.exit_code == 1
    assert "broke off" in ended.stderr


def test_the_key_is_sent_as_a_bearer_key(call: Call, api: StandIn) -> None:
    call("models")
    call("models", LONGSHORE_API_KEY="geheim-ß\n")
    without, with_key = (each.headers.get("authorization") for each in api.requests)
    assert without is None
    assert with_key
    assert with_key.encode("latin-1").decode() == "Bearer geheim-ß"


def test_the_option_wins_over_the_variable(call: Call, api: StandIn) -> None:
    assert call("models", "--url", api.url + "/", LONGSHORE_URL="http://no.invalid").exit_code == 0


def test_a_proxy_is_not_asked_for_loopback(call: Call, nobody: str) -> None:
    assert call("models", HTTP_PROXY=nobody, http_proxy=nobody, NO_PROXY="").exit_code == 0


@pytest.mark.parametrize(("debug", "traces"), [("1", True), ("", False)])
def test_a_defect_shows_where_only_if_asked(
    call: Call, api: StandIn, monkeypatch: pytest.MonkeyPatch, debug: str, traces: bool
) -> None:
    monkeypatch.delattr("longshore.core.cli.client.Client.models")
    ended = call("models", LONGSHORE_DEBUG=debug)
    assert ended.exit_code == 1
    assert ("Traceback" in ended.stderr) is traces
    assert "Error: something unexpected happened: AttributeError" in ended.stderr


# --- plugins ------------------------------------------------------------------------------------


def added(cli: click.Group) -> None:
    @cli.command()
    def weather() -> int:
        """Tell the weather."""
        click.echo("fine")
        return 7

    @cli.command()
    @click.pass_context
    def storm(ctx: click.Context) -> None:
        ctx.exit(5)


def test_commands_of_plugins_are_found_and_shown() -> None:
    run = CliRunner().invoke
    assert "Added by plugins:\n  weather   Tell the weather." in run(build_cli({}, added)).stdout
    told = run(build_cli({}, added), ["weather"])
    assert (told.stdout, told.exit_code) == ("fine\n", 0), "what it returns is no status"
    assert run(build_cli({}, added), ["storm"]).exit_code == 5


def test_plugins_are_loaded_only_where_they_may_be_meant(call: Call, api: StandIn) -> None:
    loaded: list[click.Group] = []
    run, url = CliRunner().invoke, {"LONGSHORE_URL": api.url}
    assert run(build_cli({}, loaded.append), ["models"], env=url).exit_code == 0
    assert run(build_cli({}, loaded.append), ["models", "--help"]).exit_code == 0
    assert run(build_cli({}, loaded.append), ["--version"]).exit_code == 0
    assert not loaded
    assert run(build_cli({}, loaded.append), ["other"]).exit_code == 2
    assert run(build_cli({}, loaded.append), ["--help"]).exit_code == 0
    assert len(loaded) == 2


def test_a_plugin_cannot_take_the_place_of_a_command() -> None:
    def takes(cli: click.Group) -> None:
        cli.add_command(click.Command("models"))

    with pytest.raises(ValueError, match="there is a command 'models' already"):
        build_cli({}, takes).list_commands(click.Context(click.Command("x")))


def test_a_broken_plugins_file_leaves_the_client_commands_and_help_alone(
    api: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "plugins.toml").write_text('[[plugin]]\nname = "nowhere"\n')

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=tmp_path,
            env=environment(api.url),
            capture_output=True,
            text=True,
            check=False,
        )

    assert (run("models").returncode, run("models").stderr) == (0, "")
    shown = run("--help")
    assert shown.returncode == 0
    assert "Run the platform:\n  up " in shown.stdout
    assert "nowhere" in shown.stderr


def test_a_request_that_is_not_answered_in_time_is_an_error(
    call: Call, api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def wait(_: Request) -> None:
        released.wait(10)

    monkeypatch.setattr("longshore.core.cli.client._READ", 0.2)
    api.intercept = wait
    ended = call("models")
    released.set()
    assert ended.exit_code == 1
    assert "did not answer in time" in ended.stderr
