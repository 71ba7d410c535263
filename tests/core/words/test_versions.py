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
