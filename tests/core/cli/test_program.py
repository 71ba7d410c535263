"""The program as users start it: on a terminal, in a pipe, and how long it takes."""

import json
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.cli_program import PROGRAM, environment, terminal
from parts.management_api import Answer, StandIn

from longshore.core.types import Progress, State, VersionStatus

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(api: StandIn, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=environment(api.url, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def starting(api: StandIn) -> StandIn:
    """Versions start for ever."""
    api.starts_as = [
        VersionStatus(
            state=State.PULLING, progress=Progress(what="pulling iris", done=1 << 20, total=4 << 20)
        )
    ]
    return api


def check_interrupted(text: str) -> None:
    assert "Error: stopped waiting; iris:1 stays registered and goes on starting" in text
    assert "longshore show iris:1" in text
    assert "longshore delete iris:1" in text
    assert "Traceback" not in text


def test_ctrl_c_while_waiting_says_what_stands(starting: StandIn) -> None:
    waiting = subprocess.Popen(
        [PROGRAM, "register", "iris", "1", "x"],
        env=environment(starting.url),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr
    line = ""
    while "pulling" not in line:
        line = waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    check_interrupted(waiting.communicate(timeout=20)[1])
    assert waiting.returncode == 130


def test_ctrl_c_on_a_terminal_leaves_it_tidy(starting: StandIn) -> None:
    with terminal("register", "iris", "1", "x", url=starting.url, columns=100) as shown:
        shown.until("25% of 4 MiB")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 130
        check_interrupted(ESCAPE.sub("", shown.shown))
        assert shown.shown.rindex("\x1b[?25h") > shown.shown.rindex("\x1b[?25l"), (
            "the cursor is back"
        )


def test_ctrl_c_elsewhere_ends_quietly(api: StandIn) -> None:
    api.add("iris", "1")
    go = threading.Event()

    def endless() -> Iterator[bytes]:
        yield b"one\n"
        go.wait(20)

    api.logs = endless
    following = subprocess.Popen(
        [PROGRAM, "logs", "iris:1", "-f"],
        env=environment(api.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout
    assert following.stdout.readline() == "one\n", "lines come at once"
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=20)
    go.set()
    assert following.returncode == 130
    assert told.split() == ["Stopped."]


def test_a_reader_that_leaves_is_no_news(api: StandIn) -> None:
    for number in range(2000):
        api.add(f"model-{number}", "1")
    for arguments in (["models"], ["models", "--json"]):
        printing = subprocess.Popen(
            [PROGRAM, *arguments],
            env=environment(api.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert printing.stdout
        printing.stdout.readline()
        printing.stdout.close()
        assert printing.stderr
        assert printing.stderr.read() == ""
        printing.stderr.close()
        printing.wait(20)


def test_a_full_disk_is_an_error_and_not_silence(api: StandIn) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [PROGRAM, "models"],
            env=environment(api.url),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "Error: No space left on device.\n"


def test_a_table_on_a_terminal_is_coloured_and_fits(api: StandIn) -> None:
    api.add("iris", "1")
    api.add("iris", "2", state="failed", reason="a long \x1b]0;title\x07story " * 20)
    with terminal("models", url=api.url, columns=100) as shown:
        assert shown.end() == 0
    assert "\x1b[32mready\x1b[0m" in shown.shown
    assert "\x1b[31mfailed\x1b[0m" in shown.shown
    assert "\x1b]" not in shown.shown
    lines = ESCAPE.sub("", shown.shown).splitlines()
    assert max(map(len, lines)) == 100
    assert lines[2].endswith("…")
    assert all(len(line) > 100 for line in run(api, "models").stdout.splitlines()[2:]), "whole"


def test_no_colour_where_none_is_wanted(api: StandIn) -> None:
    api.add("iris", "1")
    assert "\x1b" not in run(api, "models").stdout
    with terminal("models", url=api.url, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert "\x1b" not in shown.shown
    with terminal("models", url=api.url, TERM="dumb") as shown:
        assert shown.end() == 0
    assert "\x1b" not in shown.shown


def test_json_is_laid_out_for_a_terminal_alone(api: StandIn) -> None:
    with terminal("predict", "iris", "-d", '{"a":[1]}', url=api.url) as shown:
        assert shown.end() == 0
    assert shown.shown == '{\n  "a": [\n    1\n  ]\n}\n'
    assert run(api, "predict", "iris", "-d", '{"a":[1]}').stdout == '{"a":[1]}'


def test_answers_and_logs_cannot_command_a_terminal(api: StandIn) -> None:
    api.add("iris", "1")
    evil = "good\x1b[2J\x1b]0;title\x07\x9b31m\rbad\u202e\n".encode()
    api.predict = lambda _: Answer(body=evil, kind="text/plain")
    api.logs = lambda: evil
    for arguments in (["predict", "iris", "-d", "1"], ["logs", "iris:1"]):
        with terminal(*arguments, url=api.url) as shown:
            assert shown.end() == 0
        assert re.sub(r"\s|31m", "", shown.shown) == "goodbad"
        assert not any(each in shown.shown for each in "\x1b\x07\x9b\r\u202e")


def test_bytes_are_not_thrown_at_a_terminal(api: StandIn) -> None:
    api.predict = lambda _: Answer(body=bytes(2048), kind="image/png")
    with terminal("predict", "iris", "-d", "1", url=api.url) as shown:
        assert shown.end() == 0
    assert shown.shown == "The answer is 2 KiB of image/png. To keep it: > FILE\n"


@pytest.mark.parametrize("on_terminal", [True, False])
def test_events_of_a_stream_are_shown_as_they_come(api: StandIn, on_terminal: bool) -> None:
    seen = threading.Event()

    def events() -> Iterator[bytes]:
        yield b"data: h\xc3"
        yield b"\xa9\n\n"
        assert seen.wait(20), "the first event is shown before the second is sent"
        yield b"data: two\n\n"

    api.predict = lambda _: Answer(body=events(), kind="text/event-stream")
    arguments = ("predict", "iris", "-d", "1")
    if on_terminal:
        with terminal(*arguments, url=api.url) as shown:
            shown.until("data: hé\n\n")
            seen.set()
            shown.until("data: two\n\n")
            assert shown.end() == 0
        return
    printing = subprocess.Popen(
        [PROGRAM, *arguments], env=environment(api.url), stdout=subprocess.PIPE
    )
    assert printing.stdout
    assert printing.stdout.readline() == "data: hé\n".encode()
    seen.set()
    assert printing.stdout.read() == b"\ndata: two\n\n"
    printing.stdout.close()
    assert printing.wait(20) == 0


@pytest.mark.parametrize(
    ("typed", "left", "status"), [("y\n", 0, 0), ("n\n", 2, 130), ("\x04", 2, 130)]
)
def test_deleting_several_versions_asks_on_a_terminal(
    api: StandIn, typed: str, left: int, status: int
) -> None:
    api.add("iris", "1")
    api.add("iris", "2")
    with terminal("delete", "iris", url=api.url, columns=100) as shown:
        shown.until("Delete iris with its 2 versions (iris:1, iris:2)? [y/N]:")
        shown.type(typed)
        assert shown.end() == status
    assert len(api.records) == left


def test_an_encoding_that_cannot_write_a_reason_still_shows_it(api: StandIn) -> None:
    api.add("iris", "1", reason="a → b")
    shown = run(api, "models", PYTHONIOENCODING="latin-1")
    assert shown.returncode == 0
    assert r"a \u2192 b" in shown.stdout


def spent() -> float:
    """Return the seconds of processor time of the programs that ended; others' work adds none."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_a_thousand_versions_are_listed_within_a_second(api: StandIn) -> None:
    for number in range(1000):
        api.add(f"model-{number:04}", "1")
    versions = [each.model_dump(mode="json") for each in api.records.values()]
    prepared = [
        {
            "name": each["version"]["key"]["name"],
            "created_at": "2026-01-01T00:00:00Z",
            "versions": [each],
        }
        for each in versions
    ]
    document = json.dumps({"models": prepared}).encode()
    api.intercept = lambda _: Answer(body=document)
    taken = []
    for _ in range(3):
        begun = spent()
        shown = run(api, "models")
        taken.append(spent() - begun)
        assert shown.stdout.count("model-") == 1000
    print(f"\n1,000 versions, {len(document) >> 10} KiB: {min(taken):.2f} s")
    assert min(taken) < 1


def test_client_commands_import_nothing_of_the_server(api: StandIn) -> None:
    imported = run(api, "models", PYTHONPROFILEIMPORTTIME="1").stderr
    modules = {line.rpartition("|")[2].strip() for line in imported.splitlines()}
    assert "httpx" in modules
    assert not modules & {"fastapi", "uvicorn", "sqlalchemy", "aiohttp", "alembic"}
