from datetime import datetime, timedelta

import pytest
from examples_of import NOON, record, replica, version, workload_status
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.convergence import (
    LONGEST_BACKOFF,
    Action,
    Step,
    backoff,
    converge,
    endpoints_of,
    surplus,
    workload_of,
)
from longshore.core.errors import WorkloadFailed
from longshore.core.types import (
    Collected,
    HardwarePlan,
    ImageFate,
    Progress,
    ReplicaState,
    Requirement,
    State,
    Toleration,
    VersionRecord,
    Wish,
    WorkloadStatus,
)


def step(
    seen: VersionRecord,
    have: WorkloadStatus | None,
    *,
    wanted: int = 1,
    busy: bool = False,
    error: WorkloadFailed | None = None,
    now: datetime = NOON,
    retry_now: bool = False,
) -> Step:
    return converge(
        seen,
        have,
        fingerprint="right",
        wanted=wanted,
        busy=busy,
        error=error,
        now=now,
        retry_now=retry_now,
    )


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def test_a_new_version_is_started() -> None:
    found = step(record(), None)
    assert (found.action, found.status.state) == (Action.APPLY, State.STARTING)


def test_a_ready_replica_makes_the_version_ready_and_needs_nothing() -> None:
    found = step(record(state=State.STARTING), workload_status(replica()))
    assert found.action is Action.NONE
    assert (found.status.state, found.status.replicas, found.status.ready) == (State.READY, 1, 1)
    assert found.status.since == NOON


def test_a_lost_replica_is_started_again_and_the_others_keep_it_ready() -> None:
    found = step(record(state=State.READY), workload_status(replica()), wanted=2)
    assert (found.action, found.status.state) == (Action.APPLY, State.READY)


def test_replicas_of_another_workload_are_replaced() -> None:
    found = step(record(), workload_status(replica(), fingerprint="older"))
    assert found.action is Action.APPLY


def test_while_a_pull_is_under_way_nothing_else_is_started_and_progress_shows() -> None:
    have = WorkloadStatus(
        key=version().key, fingerprint="right", progress=Progress(what="pulling", done=1, total=4)
    )
    found = step(record(), have, busy=True)
    assert (found.action, found.status.state) == (Action.NONE, State.PULLING)
    assert found.status.progress == Progress(what="pulling", done=1, total=4)


def test_a_failed_apply_is_told_counted_once_and_tried_again_after_its_back_off() -> None:
    error = WorkloadFailed("no such image", log_tail=["a"], hint="push it")
    first = step(record(state=State.STARTING), None, error=error)
    assert first.action is Action.NONE
    status = first.status
    assert (status.state, status.reason, status.hint) == (State.FAILED, "no such image", "push it")
    assert (status.failures, status.retry_at) == (1, NOON + seconds(1))

    waiting = VersionRecord(version=version(), status=status)
    again = step(waiting, None, error=error, now=NOON + seconds(0.5))
    assert again.action is Action.NONE
    assert again.status == status, "waiting changes nothing, so nothing is written"

    due = step(waiting, None, error=error, now=NOON + seconds(1))
    assert due.action is Action.APPLY
    assert (due.status.failures, due.status.retry_at) == (1, None)


def test_the_second_failure_in_a_row_waits_longer() -> None:
    seen = record(state=State.STARTING, failures=1, reason="exited with code 1")
    found = step(seen, workload_status(replica(ReplicaState.EXITED, reason="exited with code 1")))
    assert (found.status.failures, found.status.retry_at) == (2, NOON + seconds(2))


def test_an_exit_tells_code_and_last_words() -> None:
    dead = replica(
        ReplicaState.EXITED, reason="exited with code 3", exit_code=3, log_tail=("no model",)
    )
    status = step(record(state=State.STARTING), workload_status(dead)).status
    assert (status.state, status.exit_code, status.log_tail) == (State.FAILED, 3, ("no model",))


def test_a_replica_that_was_ready_for_long_is_replaced_at_once() -> None:
    seen = record(state=State.READY, failures=7)
    dead = replica(ReplicaState.EXITED, reason="exited with code 137")
    found = step(seen, workload_status(dead), now=NOON + seconds(61))
    assert (found.action, found.status.failures) == (Action.APPLY, 1)


def test_a_version_that_dies_right_after_readiness_backs_off_all_the_same() -> None:
    seen = record(state=State.READY, failures=3)
    dead = replica(ReplicaState.EXITED, reason="exited with code 1")
    found = step(seen, workload_status(dead), now=NOON + seconds(5))
    assert (found.action, found.status.failures) == (Action.NONE, 4)


def test_somebody_who_asks_does_not_wait_for_the_back_off() -> None:
    seen = record(state=State.FAILED, failures=9, retry_at=NOON + seconds(300))
    dead = workload_status(replica(ReplicaState.EXITED))
    assert step(seen, dead).action is Action.NONE
    assert step(seen, dead, retry_now=True).action is Action.APPLY
    assert step(seen, None).action is Action.NONE, "a restarted controller keeps waiting"
    assert step(seen, None, retry_now=True).action is Action.APPLY


def test_while_it_is_tried_again_callers_still_read_why_it_failed() -> None:
    seen = record(state=State.FAILED, failures=2, reason="exited with code 1", exit_code=1)
    once = step(seen, workload_status(replica(ReplicaState.STARTING))).status
    assert once.reason == "started again after: exited with code 1"
    twice = step(
        VersionRecord(version=version(), status=once),
        workload_status(replica(ReplicaState.STARTING)),
    ).status
    assert twice.reason == once.reason


def test_the_newest_word_of_a_starting_replica_shows() -> None:
    seen = record(state=State.STARTING)
    starting = replica(ReplicaState.STARTING, reason="GET /health answered 503")
    found = step(seen, workload_status(starting))
    assert (found.status.state, found.status.reason) == (State.STARTING, "GET /health answered 503")


def test_a_hopeless_replica_fails_the_version_but_is_left_alone() -> None:
    seen = record(state=State.STARTING)
    hopeless = replica(ReplicaState.STARTING, hopeless=True, reason="listens on 9999 only")
    found = step(seen, workload_status(hopeless))
    assert (found.action, found.status.state) == (Action.NONE, State.FAILED)
    assert found.status.reason == "listens on 9999 only"
    assert found.status.hint.startswith("Register a new version of iris with --port.")
    better = VersionRecord(version=version(), status=found.status)
    assert step(better, workload_status(replica())).status.state is State.READY


def test_a_backend_that_knows_more_than_the_log_gives_the_advice() -> None:
    stuck = replica(ReplicaState.STARTING, hopeless=True, reason="no room", hint="add a node")
    found = step(record(), workload_status(stuck))
    assert (found.action, found.status.state) == (Action.NONE, State.FAILED)
    assert (found.status.reason, found.status.hint) == ("no room", "add a node")
    ended = replica(ReplicaState.EXITED, reason="cannot start", hint="mend the command")
    assert step(record(), workload_status(ended)).status.hint == "mend the command"


def test_a_backend_that_cannot_have_enough_replicas_says_why_and_is_left_to_try() -> None:
    short = workload_status().model_copy(update={"problem": "a quota is used up", "hint": "raise"})
    found = step(record(), short, wanted=2)
    assert (found.action, found.status.state) == (Action.NONE, State.FAILED)
    assert (found.status.reason, found.status.hint) == ("a quota is used up", "raise")
    assert step(record(), short, wanted=2, retry_now=True).action is Action.APPLY
    one = short.model_copy(update={"replicas": (replica(),)})
    found = step(record(), one, wanted=2)
    assert (found.status.state, found.status.reason) == (State.READY, "a quota is used up")
    outdated = short.model_copy(update={"fingerprint": "another"})
    assert step(record(), outdated).action is Action.APPLY


def test_a_note_is_told_while_all_is_well() -> None:
    noted = workload_status(replica()).model_copy(update={"note": "scaled by hand"})
    assert step(record(), noted).status.reason == "scaled by hand"


def test_one_dead_replica_among_ready_ones_leaves_the_version_ready() -> None:
    have = workload_status(replica(number=1), replica(ReplicaState.EXITED, number=2, reason="oom"))
    found = step(record(state=State.READY), have, wanted=2, now=NOON + seconds(5))
    assert (found.status.state, found.status.reason) == (State.READY, "oom")


def test_long_readiness_forgives_earlier_failures() -> None:
    seen = record(state=State.READY, failures=3)
    assert step(seen, workload_status(replica()), now=NOON + seconds(30)).status.failures == 3
    assert step(seen, workload_status(replica()), now=NOON + seconds(61)).status.failures == 0


def test_a_sleeping_version_has_nothing_running() -> None:
    seen = record(Wish.SLEEP, state=State.READY)
    found = step(seen, workload_status(replica()), wanted=0)
    assert (found.action, found.status.state) == (Action.DELETE, State.ASLEEP)
    assert step(seen, workload_status(replica()), wanted=0, busy=True).action is Action.NONE
    assert step(seen, None, wanted=0).action is Action.NONE


@pytest.mark.parametrize("wish", [Wish.SLEEP, Wish.COLLECT])
def test_what_is_still_to_go_is_told_apart_from_what_sleeps(wish: Wish) -> None:
    seen = record(wish, state=State.READY)
    going = step(seen, workload_status(replica()), wanted=0, busy=True).status
    assert (going.state, going.replicas) == (State.ASLEEP, 1)
    assert going.reason == "its containers go, after their last answers"
    gone = step(record(wish, **going.model_dump()), None, wanted=0).status
    assert "containers" not in gone.reason


def test_what_is_kept_of_a_sleeping_version_stays_until_it_is_collected() -> None:
    kept = workload_status().model_copy(update={"kept": 1, "note": "frozen"})
    asleep = step(record(Wish.SLEEP, state=State.ASLEEP), kept, wanted=0)
    assert (asleep.action, asleep.status.state) == (Action.NONE, State.ASLEEP)
    assert asleep.status.reason == "frozen"
    collected = step(record(Wish.COLLECT, state=State.ASLEEP), kept, wanted=0)
    assert (collected.action, collected.status.state) == (Action.DELETE, State.ASLEEP)
    woken = step(record(Wish.RUN, state=State.ASLEEP), kept)
    assert (woken.action, woken.status.state) == (Action.APPLY, State.STARTING)


def test_surplus_replicas_are_the_youngest_that_live() -> None:
    have = workload_status(
        replica(number=1), replica(ReplicaState.EXITED, number=2), replica(number=3)
    )
    assert surplus(have, 1) == ("replica-3",)
    assert surplus(have, 2) == ()
    assert surplus(None, 0) == ()


def test_requests_go_to_ready_replicas_with_an_address_only() -> None:
    have = workload_status(
        replica(number=1),
        replica(ReplicaState.UNREADY, number=2),
        replica(number=3, address=None),
    )
    assert [each.replica for each in endpoints_of(have)] == ["replica-1"]


def test_the_users_environment_wins_over_the_plans() -> None:
    wanted = version(env={"OMP_NUM_THREADS": "7"})
    plan = wanted.placement.plan.model_copy(update={"env": {"OMP_NUM_THREADS": "2", "A": "b"}})
    placed = wanted.placement.model_copy(update={"plan": plan})
    workload = workload_of(wanted.model_copy(update={"placement": placed}))
    assert workload.env == {"OMP_NUM_THREADS": "7", "A": "b"}
    assert workload.image == "localhost:5001/iris@sha256:" + "a" * 64


def test_a_workload_is_kept_to_the_nodes_and_gpus_of_its_plan() -> None:
    wanted = version()
    requirement = Requirement(label="kubernetes.io/arch", operator="In", values=("amd64",))
    plan = HardwarePlan(
        gpu_count=2,
        gpu_mem_floor_mib=20480,
        affinity=((requirement,),),
        preferred=(requirement,),
        tolerations=(Toleration(key="nvidia.com/gpu"),),
        node_selector={"disk": "ssd"},
    )
    placed = wanted.placement.model_copy(update={"plan": plan})
    workload = workload_of(wanted.model_copy(update={"placement": placed}))
    for field in ("gpu_count", "gpu_mem_floor_mib", "affinity", "preferred", "tolerations"):
        assert getattr(workload, field) == getattr(plan, field)
    assert workload.node_selector == {"disk": "ssd"}


def test_a_plan_of_an_earlier_release_makes_the_same_workload_as_it_did() -> None:
    stored = '{"target": "cpu", "architectures": ["amd64"], "gpu_count": 0, "memory_mib": 256}'
    wanted = version()
    plan = HardwarePlan.model_validate_json(stored)
    placed = wanted.placement.model_copy(update={"plan": plan})
    workload = workload_of(wanted.model_copy(update={"placement": placed}))
    assert workload.fingerprint == "e9ca21c3ed91273a", "its containers would start anew"


def test_a_workload_knows_what_the_version_relaxes_and_how_far_it_scales() -> None:
    asked = version(security={"run_as": 7}, scaling={"min": 1, "max": 4})
    image = asked.image.model_copy(
        update={"config": asked.image.config.model_copy(update={"user": "ada"})}
    )
    found = workload_of(asked.model_copy(update={"image": image}))
    assert (found.security, found.scaling) == (asked.spec.security, asked.spec.scaling)
    assert found.image_user == "ada"
    other = found.model_copy(update={"scaling": asked.spec.scaling.model_copy(update={"max": 5})})
    assert other.fingerprint == found.fingerprint, "bounds make no other replicas"
    assert workload_of(version()).fingerprint != found.fingerprint


def test_the_number_of_replicas_does_not_make_another_workload() -> None:
    workload = workload_of(version())
    more = workload.model_copy(update={"replicas": 3, "retire": ("x",)})
    other = workload.model_copy(update={"env": {"A": "b"}})
    assert more.fingerprint == workload.fingerprint != other.fingerprint


@pytest.mark.parametrize(("failures", "wait"), [(1, 1), (2, 2), (5, 16), (8, 128)])
def test_back_off_doubles(failures: int, wait: float) -> None:
    assert backoff(failures) == seconds(wait)


@given(st.integers(min_value=1, max_value=10**9))
def test_back_off_is_bounded(failures: int) -> None:
    assert seconds(1) <= backoff(failures) <= LONGEST_BACKOFF


def test_it_has_served_from_its_first_readiness_until_it_sleeps() -> None:
    have = workload_status(replica())
    served = step(record(), have).status
    assert served.served
    dead = workload_status(replica(ReplicaState.EXITED))
    failed = step(record(**served.model_dump()), dead).status
    assert (failed.state, failed.served, failed.failures) == (State.FAILED, True, 1)
    asleep = step(record(Wish.SLEEP, **failed.model_dump()), None).status
    assert not asleep.served
    assert not step(record(), workload_status(replica(ReplicaState.STARTING))).status.served


def test_what_is_collected_says_why_and_whether_it_can_come_back() -> None:
    word = Collected(at=NOON, why="nobody called it for 2 hours", image=ImageFate.GOES)
    one = record(Wish.COLLECT, state=State.ASLEEP)
    stays = step(one.model_copy(update={"collected": word}), None, wanted=0).status
    assert (stays.state, stays.reason, stays.hint) == (State.COLLECTED, word.why, "")
    gone = word.model_copy(update={"image": ImageFate.DELETED})
    lost = step(one.model_copy(update={"collected": gone}), None, wanted=0).status
    assert lost.reason == f"{word.why}; its image was deleted from its registry"
    assert lost.hint.startswith(f"Push the image {one.version.image.pinned} again")
    assert step(one, None, wanted=0).status.reason == "nobody called it for its retention time"
