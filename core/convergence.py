"""What to do next about one version: the heart of the controller, as pure functions.

The controller looks at what SQL wishes and what the backend has, and asks here. Nothing in this
file remembers anything: what must survive a crash (failures in a row, the time of the next try)
is in the status that SQL keeps.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from longshore.core.errors import WorkloadFailed
from longshore.core.types import (
    Endpoint,
    Replica,
    ReplicaState,
    State,
    Version,
    VersionRecord,
    VersionStatus,
    Wish,
    Workload,
    WorkloadStatus,
)

STABLE = timedelta(seconds=60)
"""A version that was ready for this long has a clean slate: its next failure counts as first."""

GOES = "its containers go, after their last answers"
"""What is said of a version that is to rest while something of it runs still."""

_AT_REST = frozenset({State.ASLEEP, State.COLLECTED})

LONGEST_BACKOFF = timedelta(minutes=5)


class Action(Enum):
    """What the controller asks of a backend."""

    NONE = "none"
    APPLY = "apply"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """What a version is now, and what to do about it."""

    status: VersionStatus
    action: Action = Action.NONE


def workload_of(version: Version) -> Workload:
    """Return what a backend has to run for a version, before plugins change it; no replicas yet."""
    spec, plan, serving = version.spec, version.placement.plan, version.serving
    return Workload(
        key=version.key,
        image=version.image.pinned,
        replicas=0,
        port=serving.port,
        health_path=serving.health_path,
        health_required=serving.health_required,
        command=spec.command,
        env={**plan.env, **spec.env},
        writable_root=spec.writable_root,
        cpu_millicores=plan.cpu_millicores,
        memory_mib=plan.memory_mib,
        gpu_count=plan.gpu_count,
        gpu_mem_floor_mib=plan.gpu_mem_floor_mib,
        affinity=plan.affinity,
        preferred=plan.preferred,
        tolerations=plan.tolerations,
        node_selector=plan.node_selector,
        nodes=tuple(node.name for node in version.placement.nodes),
        startup=spec.limits.startup,
        security=spec.security,
        image_user=version.image.config.user,
        scaling=spec.scaling,
    )


def bring_back(record: VersionRecord) -> str:
    """Return what to do for a collected version whose image was deleted from its registry."""
    key, image = record.version.key, record.version.image
    return (
        f"Push the image {image.pinned} again, and wake it: longshore wake {key}. "
        f"Or register another image as a new version of {key.name}."
    )


def endpoints_of(have: WorkloadStatus | None) -> tuple[Endpoint, ...]:
    """Return the replicas that requests can go to."""
    if have is None:
        return ()
    return tuple(
        Endpoint(replica=replica.id, address=replica.address)
        for replica in have.replicas
        if replica.state is ReplicaState.READY and replica.address
    )


def surplus(have: WorkloadStatus | None, wanted: int) -> tuple[str, ...]:
    """Return the ids of live replicas beyond the wanted number: the youngest of them."""
    if have is None:
        return ()
    live = [each for each in have.replicas if _lives(each)]
    return tuple(each.id for each in live[wanted:])


def backoff(failures: int) -> timedelta:
    """Return how long to wait after this many failures in a row: 1 s, doubled up to 5 minutes."""
    return min(timedelta(seconds=2.0 ** min(failures - 1, 16)), LONGEST_BACKOFF)


def converge(
    record: VersionRecord,
    have: WorkloadStatus | None,
    *,
    fingerprint: str,
    wanted: int,
    busy: bool,
    error: WorkloadFailed | None,
    now: datetime,
    retry_now: bool = False,
) -> Step:
    """Decide the next step for a version.

    Args:
        record: what SQL says: the version, the wish, and the status so far.
        have: what the backend has of it; None for nothing.
        fingerprint: that of the workload which should run.
        wanted: how many replicas should run; at least 1 unless it should sleep.
        busy: whether an apply or delete for it is under way; nothing else is started then.
        error: how the last apply failed, if it did.
        now: the time of day (UTC).
        retry_now: somebody asked not to wait for the next try.
    """
    seen = _Seen(record, have, now)
    if record.wish is not Wish.RUN:
        status = _at_rest(seen)
        return Step(status, Action.DELETE if seen.to_go and not busy else Action.NONE)
    if busy:
        return Step(_at_work(seen))
    if error or seen.dead:
        return _after_failure(seen, _failure(seen, error), retry_now)
    if (
        have is None
        or have.fingerprint != fingerprint
        or (len(seen.live) != wanted and not have.problem)
    ):
        return _start(seen, retry_now)
    if have.problem:
        # The backend goes on trying by itself.
        return Step(_short_of(seen, have), Action.APPLY if retry_now else Action.NONE)
    return Step(_ready(seen) if seen.ready else _not_ready(seen))


class _Seen:
    """One version as this pass finds it."""

    def __init__(self, record: VersionRecord, have: WorkloadStatus | None, now: datetime) -> None:
        replicas = have.replicas if have else ()
        self.record = record
        self.before = record.status
        self.now = now
        self.progress = have.progress if have else None
        self.note = have.note if have else ""
        kept = have.kept if have else 0
        self.to_go = bool(replicas or (kept and record.wish is Wish.COLLECT))
        """Whether something is there that has to go for it to be at rest."""
        self.live = [each for each in replicas if _lives(each)]
        self.dead = [each for each in replicas if not _lives(each)]
        self.ready = [each for each in self.live if each.state is ReplicaState.READY]

    @property
    def was_stable(self) -> bool:
        """Whether it had been ready for so long that earlier failures are forgiven."""
        return self.before.state is State.READY and self.now - self.before.since > STABLE

    def status(self, state: State, **fields: object) -> VersionStatus:
        return VersionStatus.model_validate(
            {
                "state": state,
                "since": self.before.since if self.before.state is state else self.now,
                "replicas": len(self.live),
                "ready": len(self.ready),
                "served": state is State.READY or (self.before.served and state not in _AT_REST),
                **fields,
            }
        )

    def earlier(self) -> dict[str, object]:
        """Return why it failed before: callers still read that while it is tried again."""
        if not self.before.failures:
            return {}
        prefix, reason = "started again after: ", self.before.reason
        if reason and not reason.startswith(prefix):
            reason = prefix + reason
        return {
            "failures": self.before.failures,
            "reason": reason,
            "log_tail": self.before.log_tail,
            "exit_code": self.before.exit_code,
        }


def _at_rest(seen: _Seen) -> VersionStatus:
    """It should not run; what still does is on its way out."""
    collected = seen.record.collected
    if seen.record.wish is Wish.COLLECT and not seen.to_go:
        why = collected.why if collected else "nobody called it for its retention time"
        if collected is None or collected.comes_back:
            return seen.status(State.COLLECTED, reason=why)
        return seen.status(
            State.COLLECTED,
            reason=f"{why}; its image was deleted from its registry",
            hint=bring_back(seen.record),
        )
    return seen.status(State.ASLEEP, reason=GOES if seen.live else seen.note)


def _at_work(seen: _Seen) -> VersionStatus:
    """An apply or delete is under way."""
    state = State.PULLING if seen.progress else State.STARTING
    return seen.status(
        State.READY if seen.ready else state, progress=seen.progress, **seen.earlier()
    )


def _failure(seen: _Seen, error: WorkloadFailed | None) -> VersionStatus:
    """It could not be started, or replicas of it ended."""
    state = State.READY if seen.ready else State.FAILED
    hint = _look_at_log(seen)
    if error:
        return seen.status(
            state, reason=error.message, log_tail=error.log_tail, hint=error.hint or hint
        )
    newest = seen.dead[-1]
    hint = newest.hint or hint
    return seen.status(
        state,
        reason=newest.reason,
        log_tail=newest.log_tail,
        exit_code=newest.exit_code,
        hint=hint,
    )


def _after_failure(seen: _Seen, failed: VersionStatus, retry_now: bool) -> Step:
    """Count a failure once, wait, and then try again."""
    failures, retry_at = seen.before.failures, seen.before.retry_at
    if retry_at is None:
        failures = 1 if seen.was_stable else failures + 1
        retry_at = seen.now if seen.was_stable else seen.now + backoff(failures)
    due = retry_now or retry_at <= seen.now
    update = {"failures": failures, "retry_at": None if due else retry_at}
    return Step(failed.model_copy(update=update), Action.APPLY if due else Action.NONE)


def _start(seen: _Seen, retry_now: bool) -> Step:
    """Something else runs than should."""
    waits_until = seen.before.retry_at
    if waits_until and waits_until > seen.now and not retry_now and not seen.live:
        # A failure from before a restart of the controller: its waiting time still counts.
        return Step(seen.before)
    state = State.READY if seen.ready else State.STARTING
    return Step(seen.status(state, **seen.earlier()), Action.APPLY)


def _short_of(seen: _Seen, have: WorkloadStatus) -> VersionStatus:
    """The backend cannot have as many replicas as it should."""
    return seen.status(
        State.READY if seen.ready else State.FAILED,
        reason=have.problem,
        hint=have.hint,
        failures=seen.before.failures,
    )


def _ready(seen: _Seen) -> VersionStatus:
    reason = next((each.reason for each in seen.live if each.reason), seen.note)
    failures = 0 if seen.was_stable else seen.before.failures
    return seen.status(State.READY, reason=reason, failures=failures)


def _not_ready(seen: _Seen) -> VersionStatus:
    """All replicas run as wished and none is ready: still on its way, or in vain?"""
    for each in seen.live:
        if each.hopeless or each.state is ReplicaState.UNREADY:
            return seen.status(
                State.FAILED,
                reason=each.reason,
                log_tail=each.log_tail,
                failures=seen.before.failures,
                hint=each.hint or (_other_port(seen) if each.hopeless else _look_at_log(seen)),
            )
    fields = seen.earlier()
    for each in seen.live:
        if each.reason:
            fields["reason"] = each.reason
    return seen.status(State.STARTING, **fields)


def _other_port(seen: _Seen) -> str:
    name = seen.record.version.key.name
    return f"Register a new version of {name} with --port. {_look_at_log(seen)}"


def _look_at_log(seen: _Seen) -> str:
    return f"See its log: longshore logs {seen.record.version.key}"


def _lives(replica: Replica) -> bool:
    return replica.state is not ReplicaState.EXITED
