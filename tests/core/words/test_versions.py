"""Words about versions that two readers get: who types a command, and who looks at the page."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from examples_of import NOON, record, version

from longshore.core.types import Progress, State, VersionStatus, Wake
from longshore.core.words.fields import Field, told
from longshore.core.words.versions import content_of, why_of


def test_times_are_told_by_the_readers_clock() -> None:
    failed = record(state=State.FAILED, retry_at=NOON)
    wake = Wake(key=failed.version.key, asked_at=NOON, ready_at=NOON + timedelta(seconds=2))
    content = content_of(failed, [wake], ZoneInfo("Asia/Tokyo"))
    assert content["status"]["next try"] == "2026-01-01 21:00:00 JST"
    assert content["registered"] == "2026-01-01 21:00:00 JST"
    assert content["wakes"][0] == "ready after 2.0 s at the median, 2.0 s at the 95th percentile"
    assert content["wakes"][1].startswith("2026-01-01 21:00:00 JST: ready after 2.00 s")


def test_settings_are_told_with_their_units() -> None:
    asked = version(scaling={"min": 0, "idle": 15}, limits={"connect": 0.25}, retention=1.5)
    shown = content_of(record().model_copy(update={"version": asked}), [])["settings"]
    assert shown["scaling"]["idle"] == "15 seconds"
    limits = ("connect", "first_byte", "startup", "total")
    assert [shown["limits"][each] for each in limits] == [
        "0.25 seconds",
        "1 minute",
        "5 minutes",
        "10 minutes",
    ]
    assert shown["limits"]["concurrency"] == 128
    assert shown["retention"] == "36 hours"
    for_ever = version(scaling={"idle": 0}, retention=0)
    shown = content_of(record().model_copy(update={"version": for_ever}), [])["settings"]
    assert (shown["scaling"]["idle"], shown["retention"]) == ("never", "never")


def test_wakes_tell_how_they_ended_and_why() -> None:
    one = record()
    second = timedelta(seconds=1)

    def told(**fields: object) -> str:
        wake = Wake.model_validate(
            {"key": one.version.key, "asked_at": NOON, "reason": "a request", **fields}
        )
        [line] = content_of(one, [wake], ZoneInfo("UTC"))["wakes"][-1:]
        assert line.startswith("2026-01-01 12:00:00 UTC: ")
        return str(line).removeprefix("2026-01-01 12:00:00 UTC: ")

    assert told() == "not ready yet; a request"
    assert told(ended_at=NOON + second, why_ended="put to sleep by a user", applied_at=NOON) == (
        "broken off after 1.00 s (asked of the backend 0.00 s): put to sleep by a user; a request"
    )
    failed = {"ended_at": NOON + 2 * second, "failed": True, "why_ended": "exit code 3"}
    assert (
        told(**failed, held=2, longest_hold=2)
        == "failed after 2.00 s: exit code 3; 2 held, 2.00 s at most, 0 lost; a request"
    )


def test_of_many_wakes_the_newest_are_told_and_all_of_them_count() -> None:
    one = record()
    wakes = [
        Wake(
            key=one.version.key,
            asked_at=NOON + timedelta(minutes=number),
            ready_at=NOON + timedelta(minutes=number, seconds=number),
        )
        for number in range(100)
    ]
    first, more, *lines = content_of(one, wakes, ZoneInfo("UTC"))["wakes"]
    assert first == "ready after 49.0 s at the median, 94.0 s at the 95th percentile"
    assert more == "and 90 earlier ones: longshore show iris:1 --json"
    assert len(lines) == 10
    assert lines[0].startswith("2026-01-01 13:30:00 UTC: ready after 90.00 s")
    assert len(content_of(one, wakes[:10])["wakes"]) == 11, "none is left out of ten"


def test_how_far_it_has_come_is_told_before_why() -> None:
    assert why_of(VersionStatus(reason="no room")) == "no room"
    pulling = Progress(what="pulling", done=1 << 20, total=1 << 22)
    assert why_of(VersionStatus(reason="no room", progress=pulling)) == "pulling, 25% of 4 MiB"


def test_what_is_empty_is_left_out_and_what_is_not_is_harmless() -> None:
    content: dict[str, object] = {
        "exit_code": 3,
        "none": None,
        "no lines": [],
        "nested": {"in\x1b[1m it": ["a\nb"]},
    }
    assert told(content) == (
        Field(name="exit code", text="3"),
        Field(name="nested", fields=(Field(name="in it", lines=("a b",)),)),
    )
