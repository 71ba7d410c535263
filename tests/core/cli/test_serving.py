import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from parts.cli_program import Call
from parts.management_api import Answer, Request, StandIn, problem

ODD = bytes(range(256))


def test_bodies_pass_unchanged_both_ways_where_no_terminal_shows_them(
    call: Call, api: StandIn
) -> None:
    api.predict = lambda request: Answer(body=request.body + ODD)
    ended = call("predict", "iris", "-d", "[[5.1,  3.5]]")
    assert ended.exit_code == 0
    assert ended.stdout_bytes == b"[[5.1,  3.5]]" + ODD
    [request] = api.requests
    assert (request.method, request.path) == ("POST", "/v1/models/iris/predict")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("line", ["iris:2", "iris --version 2", "iris:2 --version 2"])
def test_a_version_can_be_named_in_two_ways(call: Call, api: StandIn, line: str) -> None:
    call("predict", *line.split(), "-d", "1")
    assert api.requests[0].path == "/v1/models/iris/versions/2/predict"


def test_the_body_comes_from_a_file_or_standard_input_with_its_size(
    call: Call, api: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(ODD)
    call("predict", "iris", "-d", f"@{tmp_path / 'body'}")
    call("predict", "iris", "-d", "-", stdin=ODD)
    call("predict", "iris", "-d", "ß")
    assert [each.body for each in api.requests] == [ODD, ODD, "ß".encode()]
    assert all("transfer-encoding" not in each.headers for each in api.requests)


def test_headers_are_sent_and_replace_the_default(call: Call, api: StandIn) -> None:
    call("predict", "iris", "-d", "x", "-H", "Content-Type: text/csv", "-H", "X-Name: ü: b")
    headers = api.requests[0].headers
    assert headers["content-type"] == "text/csv"
    assert headers["x-name"].encode("latin-1").decode() == "ü: b"


def test_a_refusal_of_the_platform_is_an_error(call: Call, api: StandIn) -> None:
    api.predict = lambda _: problem(503, "iris:1 is asleep", hint="Wake it: longshore wake iris:1")
    ended = call("predict", "iris", "-d", "1")
    assert ended.exit_code == 1
    assert ended.stdout == ""
    assert "Hint: Wake it" in ended.stderr


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json"])
def test_what_the_model_itself_says_of_an_error_is_printed(
    call: Call, api: StandIn, kind: str
) -> None:
    said = b'{"type": "about:blank", "detail": "three numbers, please"}'
    api.predict = lambda _: Answer(422, said, kind)
    ended = call("predict", "iris:1", "-d", "1")
    assert ended.exit_code == 1
    assert ended.stdout_bytes == said
    assert "Error: the model answered with status 422" in ended.stderr
    assert "longshore logs iris:1" in ended.stderr


def test_an_answer_that_breaks_off_prints_its_part_and_is_an_error(
    call: Call, api: StandIn
) -> None:
    api.predict = lambda _: Answer(body=b"half", broken=True)
    ended = call("predict", "iris", "-d", "1")
    assert ended.exit_code == 1
    assert ended.stdout == "half"
    assert "broke off" in ended.stderr


def test_logs_are_printed_as_they_were_written(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.logs = lambda: b"one\n\x1b[31mtwo\x1b[0m\n"
    assert call("logs", "iris:1", "--tail", "7").stdout_bytes == b"one\n\x1b[31mtwo\x1b[0m\n"
    assert api.requests[0].path == "/api/models/iris/versions/1/logs?tail=7&follow=false"


def test_logs_are_one_document_for_programs(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.logs = lambda: b'one\n\x1b[31m"two"\n'
    assert json.loads(call("logs", "iris:1", "--json").stdout) == {
        "lines": ["one", '\x1b[31m"two"']
    }
    refused = call("logs", "iris:1", "--json", "--follow")
    assert refused.exit_code == 2
    assert "would never end" in refused.stderr


def test_logs_of_several_versions_are_the_newest_ones(call: Call, api: StandIn) -> None:
    api.add("iris", "9")
    api.add("iris", "10")
    assert call("logs", "iris", "-f").exit_code == 0
    assert api.requests[-1].path == "/api/models/iris/versions/10/logs?tail=100&follow=true"


def test_a_log_that_cannot_be_read_says_why(call: Call, api: StandIn) -> None:
    ended = call("logs", "iris:1")
    assert ended.exit_code == 1
    assert "there is no version 'iris:1'" in ended.stderr


def test_a_log_that_breaks_off_keeps_what_came(call: Call, api: StandIn) -> None:
    api.add("iris", "1")

    def breaks(request: Request) -> Answer | None:
        if "/logs" in request.path:
            return Answer(body=b"one\n", kind="text/plain", broken=True)
        return None

    api.intercept = breaks
    ended = call("logs", "iris:1")
    assert (ended.exit_code, ended.stdout) == (1, "one\n")


def test_large_answers_are_streamed(call: Call, api: StandIn) -> None:
    def large() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    api.predict = lambda _: Answer(body=large(), kind="application/octet-stream")
    assert len(call("predict", "iris", "-d", json.dumps([1])).stdout_bytes) == 64 * 65536
