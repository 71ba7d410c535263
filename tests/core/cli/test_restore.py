import json

from examples_of import NOON
from parts.cli_program import Call
from parts.management_api import StandIn

from longshore.core.names import VersionKey
from longshore.core.types import State, VersionStatus, Wish

READY = VersionStatus(state=State.READY, replicas=1, ready=1)


def failed(reason: str, failures: int) -> VersionStatus:
    return VersionStatus(state=State.FAILED, reason=reason, failures=failures, since=NOON)


def lose_two(api: StandIn) -> None:
    """Let one version be lost that comes back, and one that does not; two are well."""
    api.add("iris", "1")
    api.add("roses", "1", state="starting", ready=0)
    api.add("tulips", "1", state="failed", reason="no such digest", failures=1)
    asleep = api.add("asters", "1", state="asleep")
    api.records[asleep] = api.records[asleep].model_copy(update={"wish": Wish.SLEEP})


def test_the_plan_shows_what_is_missing_and_changes_nothing(call: Call, api: StandIn) -> None:
    lose_two(api)
    ended = call("restore", "--plan")
    assert ended.exit_code == 0
    lines = ended.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["roses:1", "starting"],
        ["tulips:1", "failed"],
    ]
    assert "@sha256:" in lines[1]
    assert "no such digest" in lines[2]
    assert {each.method for each in api.requests} == {"GET"}
    shown = json.loads(call("restore", "--plan", "--json").stdout)
    assert len(shown["missing"]) == 2


def test_what_failed_is_tried_at_once_and_what_stays_away_is_told(call: Call, api: StandIn) -> None:
    lose_two(api)
    api.plays[VersionKey("roses", "1")] = [VersionStatus(state=State.STARTING), READY]
    api.starts_as = (
        # It still stands there from before.
        failed("no such digest", 1),
        VersionStatus(state=State.STARTING, failures=1),
        failed("still no such digest", 2),
    )
    ended = call("restore")
    assert [each.path for each in api.asked("POST")] == ["/api/models/tulips/versions/1/wake"]
    assert "1 version came back in " in ended.stdout
    assert "tulips:1  failed  still no such digest" in ended.stdout
    assert "roses" not in ended.stdout
    assert ended.exit_code == 1
    assert "1 version did not come back" in ended.stderr


def test_nothing_is_missing(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    for arguments in (("restore",), ("restore", "--plan")):
        ended = call(*arguments)
        assert (ended.exit_code, ended.stdout) == (0, "Everything runs that should.\n")


def test_what_is_deleted_meanwhile_is_not_waited_for(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1", state="starting", ready=0)
    looks = 0

    def forget(_: object) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            del api.records[key]

    api.intercept = forget
    ended = call("restore", "--json")
    assert ended.exit_code == 0
    assert json.loads(ended.stdout)["lost"] == []
