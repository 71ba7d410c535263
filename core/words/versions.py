"""A version as people read it: in one row, and all that is known of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from longshore.core.names import VersionKey
from longshore.core.quantities import DAY, exactly
from longshore.core.types import Model, VersionRecord, VersionSpec, VersionStatus, Wake, utc_now
from longshore.core.wake_times import durations, percentile
from longshore.core.windows import next_after, open_at
from longshore.core.words.plan import plan_rows, scheduler_rows
from longshore.core.words.text import age, moment, progress

MODELS = ("MODEL", "VERSION", "STATE", "READY", "IMAGE", "AGE", "REASON")
"""Headings of a table of versions."""


WAKES_TOLD = 10
"""Of a version's wakes, so many of the newest are told one by one."""


def version_row(model: Model, record: VersionRecord) -> tuple[str, ...]:
    """Return a version's row in a table of versions."""
    version, status = record.version, record.status
    return (
        model.name,
        version.key.version,
        status.state.value,
        f"{status.ready}/{status.replicas}",
        version.spec.image,
        age(version.created_at),
        status.reason,
    )


def why_of(status: VersionStatus) -> str:
    """Return how far it has come, or why it is in its state; empty where all is well."""
    return progress(status.progress) if status.progress else status.reason


def content_of(
    record: VersionRecord, wakes: Sequence[Wake], zone: tzinfo | None = None
) -> dict[str, Any]:
    """Return all that is known of a version but its state, by what it is about.

    Args:
        record: the version.
        wakes: the newest of it, oldest of them first.
        zone: of the clock that times are told by; None: this machine's.
    """
    version, status = record.version, record.status
    told = status.model_dump(mode="json", exclude={"state", "since", "retry_at"}, exclude_none=True)
    if status.retry_at:
        told["next try"] = moment(status.retry_at, zone)
    placement, plan = version.placement, version.placement.plan
    return {
        "status": {
            "wish": record.wish.value,
            **({"pinned": True} if record.pinned else {}),
            **_warm(record, zone),
            **told,
        },
        "image": {
            "asked for": version.spec.image,
            "runs": version.image.pinned,
            "platforms": ", ".join(version.image.platforms),
        },
        "serving": version.serving.model_dump(mode="json"),
        "settings": {
            **_settings(version.spec),
            "environment": [f"{name}={value}" for name, value in version.spec.env.items()],
        },
        "placement": {
            "backend": placement.backend,
            "nodes": [f"{node.name}, score {node.score:g}" for node in placement.nodes],
            "plan": dict(plan_rows(plan)),
            "scheduler": [f"{which} {what}" for which, what in scheduler_rows(plan)],
            "rules": [f"{each.rule}: {each.outcome} ({each.evidence})" for each in plan.verdicts],
            "warnings": list(plan.warnings),
        },
        "wakes": [
            *_percentiles(wakes),
            *_earlier(version.key, len(wakes) - WAKES_TOLD),
            *(_wake(each, zone) for each in wakes[-WAKES_TOLD:]),
        ],
        "registered": moment(version.created_at, zone),
    }


def _settings(spec: VersionSpec) -> dict[str, Any]:
    """Return what was asked for, times with their units."""
    told = spec.model_dump(mode="json", exclude={"image", "env"}, exclude_none=True)
    told["scaling"]["idle"] = _or_never(spec.scaling.idle)
    told["limits"] |= {
        name: exactly(getattr(spec.limits, name))
        for name in ("startup", "connect", "first_byte", "total")
    }
    if spec.retention is not None:
        told["retention"] = _or_never(spec.retention * DAY)
    return told


def _or_never(seconds: float) -> str:
    return exactly(seconds) if seconds else "never"


def wake_seconds(wakes: Sequence[Wake]) -> Mapping[str, float | None]:
    """Return what wakes took until readiness, in seconds; None where none came to it."""
    took = durations(wakes)
    return {"p50": percentile(took, 0.5), "p95": percentile(took, 0.95)}


def _warm(record: VersionRecord, zone: tzinfo | None) -> dict[str, str]:
    """Tell until when a version is kept warm, or when it will be."""
    windows, now = record.version.spec.scaling.warm, utc_now()
    if opening := open_at(windows, now):
        return {"kept warm": f"until {moment(opening.until, zone)} ({opening.window})"}
    if opening := next_after(windows, now):
        return {"kept warm": f"from {moment(opening.since, zone)} ({opening.window})"}
    return {}


def _percentiles(wakes: Sequence[Wake]) -> Iterator[str]:
    took = wake_seconds(wakes)
    if took["p50"] is not None:
        yield (
            f"ready after {took['p50']:.1f} s at the median, {took['p95']:.1f} s at the "
            "95th percentile"
        )


def _earlier(key: VersionKey, count: int) -> Iterator[str]:
    if count > 0:
        yield f"and {count} earlier ones: longshore show {key} --json"


def _wake(wake: Wake, zone: tzinfo | None) -> str:
    """Tell when each phase of a wake was over, in seconds from its beginning."""

    def after(when: datetime | None) -> str:
        return f"{(when - wake.asked_at).total_seconds():.2f} s" if when else ""

    if wake.ready_at:
        told = f"ready after {after(wake.ready_at)}"
    elif wake.ended_at:
        told = f"{'failed' if wake.failed else 'broken off'} after {after(wake.ended_at)}"
    else:
        told = "not ready yet"
    phases = {
        "asked of the backend": wake.applied_at,
        "scheduled": wake.scheduled_at,
        "image": wake.image_at,
        "started": wake.started_at,
        "first byte": wake.first_byte_at,
    }
    passed = ", ".join(f"{name} {after(when)}" for name, when in phases.items() if when)
    if passed:
        told += f" ({passed})"
    if wake.why_ended:
        told += f": {wake.why_ended}"
    if wake.held:
        told += f"; {wake.held} held, {wake.longest_hold:.2f} s at most, {wake.lost} lost"
    return f"{moment(wake.asked_at, zone)}: {told}; {wake.reason}"
