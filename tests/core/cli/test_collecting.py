"""``gc``, ``pin`` and ``unpin``; what they do to a real platform is in tests/system."""

import json
from datetime import timedelta

from examples_of import NOON
from parts.cli_program import Call
from parts.management_api import Answer, Request, StandIn

from longshore import VersionKey
from longshore.core.collection import Collection, Verdict
from longshore.core.types import VersionRecord, Wish

OLD = Verdict(
    key=VersionKey("iris", "1"),
    collect=True,
    why="nobody called it for 40 days, and it is kept for 30 days",
    last_used=NOON - timedelta(days=40),
    size_bytes=512 << 20,
)
NEW = Verdict(key=VersionKey("iris", "2"), collect=False, why="it is pinned", last_used=NOON)


def answering(api: StandIn, *verdicts: Verdict, lost: tuple[VersionKey, ...] = ()) -> None:
    found = Collection(verdicts=verdicts, without_image=lost).model_dump_json().encode()

    def answer(request: Request) -> Answer | None:
        return Answer(body=found) if request.path == "/api/collection" else None

    api.intercept = answer


def test_a_plan_tells_of_each_version_why_and_asks_for_nothing_else(
    call: Call, api: StandIn
) -> None:
    answering(api, OLD, NEW)
    lines = call("gc", "--plan").stdout.splitlines()
    assert lines[0].split() == ["VERSION", "VERDICT", "UNUSED", "FOR", "FREES", "WHY"]
    assert "iris:1" in lines[1]
    assert "collect" in lines[1]
    assert "512 MiB" in lines[1]
    assert lines[1].endswith("nobody called it for 40 days, and it is kept for 30 days")
    assert lines[2].endswith("it is pinned")
    assert lines[3] == "1 version would go, with 512 MiB of images. Collect: longshore gc"
    assert [each.method for each in api.requests] == ["GET"]


def test_collecting_tells_what_went_and_how_to_bring_it_back(call: Call, api: StandIn) -> None:
    answering(api, OLD, NEW)
    said = call("gc").stdout
    assert "iris:1 is collected: nobody called it for 40 days" in said
    assert "Bring it back: longshore wake iris:1" in said
    assert "iris:2" not in said
    assert [each.method for each in api.requests] == ["POST"]


def test_it_promises_nobody_an_image_that_is_deleted(call: Call, api: StandIn) -> None:
    answering(api, OLD, lost=(OLD.key,))
    assert call("gc", "--plan").stdout.splitlines()[-1] == (
        "The image of iris:1 would be deleted from the registry, too (delete_collected): "
        "only a new push brings it back."
    )
    said = call("gc").stdout
    assert "The image of iris:1 is being deleted from the registry, too" in said
    assert "longshore wake" not in said


def test_it_tells_of_images_that_deleted_versions_left(call: Call, api: StandIn) -> None:
    found = Collection(verdicts=(), left_images=("localhost:5001/iris@sha256:aa",))
    api.intercept = lambda _: Answer(body=found.model_dump_json().encode())
    last = (
        "Images that deleted versions left {} as well, where nothing else needs them: "
        "localhost:5001/iris@sha256:aa."
    )
    for command, told in (("--plan", "would go"), ("", "go")):
        lines = call("gc", *filter(None, [command])).stdout.splitlines()
        assert lines == ["Nothing is to be collected.", last.format(told)]


def test_nothing_to_collect(call: Call, api: StandIn) -> None:
    answering(api, NEW)
    assert call("gc").stdout == "Nothing is to be collected.\n"
    answering(api)
    assert call("gc", "--plan").stdout == "Nothing is to be collected.\n"


def test_the_plan_for_programs(call: Call, api: StandIn) -> None:
    answering(api, OLD)
    document = json.loads(call("gc", "--plan", "--json").stdout)
    assert Collection.model_validate(document).verdicts == (OLD,)


def test_pinning_and_unpinning(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    record = api.records[key].model_dump_json().encode()
    api.intercept = lambda each: Answer(body=record) if each.method == "POST" else None
    assert "is never collected" in call("pin", "iris").stdout
    assert "iris:1 is collected when" in call("unpin", "iris:1").stdout
    for command in ("pin", "unpin"):
        said = call(command, "iris", "--json").stdout
        assert VersionRecord.model_validate_json(said) == api.records[key]
    paths = [each.path for each in api.asked("POST")][:2]
    assert paths == [f"/api/models/iris/versions/1/{each}" for each in ("pin", "unpin")]


def test_unpinning_what_is_collected_says_so(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    record = api.records[key].model_copy(update={"wish": Wish.COLLECT}).model_dump_json().encode()
    api.intercept = lambda each: Answer(body=record) if each.method == "POST" else None
    assert "it is collected. Bring it back: longshore wake iris:1" in call("unpin", "iris:1").stdout
