from parts.cli_program import Call
from parts.management_api import StandIn

from longshore.core.types import State, VersionRecord, Wish


def test_a_version_is_deleted_without_asking(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.add("iris", "2")
    ended = call("delete", "iris:1")
    assert ended.exit_code == 0
    assert "iris:1 is deleted.\nContainers go within seconds" in ended.stdout
    assert [str(key) for key in api.records] == ["iris:2"]


def test_a_model_of_one_version_is_deleted_by_that_version(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    assert call("delete", "iris").exit_code == 0
    [deleted] = api.asked("DELETE")
    assert deleted.path == "/api/models/iris/versions/1", "no other one that came meanwhile"


def test_several_versions_are_not_deleted_where_nobody_can_be_asked(
    call: Call, api: StandIn
) -> None:
    api.add("iris", "1")
    api.add("iris", "2")
    ended = call("delete", "iris", stdin="y\n")
    assert ended.exit_code == 2
    assert "--yes" in ended.stderr
    assert len(api.records) == 2


def test_yes_deletes_several_versions(call: Call, api: StandIn) -> None:
    api.add("iris", "1")
    api.add("iris", "2")
    ended = call("delete", "iris", "--yes")
    assert ended.exit_code == 0
    assert "iris:1 is deleted.\niris:2 is deleted." in ended.stdout
    assert not api.records


def test_sleep_says_how_to_wake(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    ended = call("sleep", "iris")
    assert "longshore wake iris:1" in ended.stdout
    assert api.records[key].wish is Wish.SLEEP


def test_wake_without_waiting(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1", state="asleep")
    call("sleep", "iris")
    assert "longshore show iris:1" in call("wake", "iris", "--no-wait").stdout
    assert api.records[key].wish is Wish.RUN


def test_sleep_tells_what_sleeps_already(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    assert "goes to sleep" in call("sleep", "iris").stdout
    assert "goes to sleep" in call("sleep", "iris").stdout, "its container is still there"
    status = api.records[key].status.model_copy(update={"replicas": 0, "ready": 0})
    api.records[key] = api.records[key].model_copy(update={"status": status})
    said = call("sleep", "iris").stdout
    assert said == "iris:1 sleeps already.\nWake it: longshore wake iris:1\n"


def test_sleep_and_wake_for_programs(call: Call, api: StandIn) -> None:
    key = api.add("iris", "1")
    asleep = call("sleep", "iris", "--json").stdout
    assert VersionRecord.model_validate_json(asleep).wish is Wish.SLEEP
    started = VersionRecord.model_validate_json(call("wake", "iris", "--no-wait", "--json").stdout)
    assert (started.wish, started.status) == (Wish.RUN, api.records[key].status)
    awake = VersionRecord.model_validate_json(call("wake", "iris", "--json").stdout)
    assert awake.status.state is State.READY
