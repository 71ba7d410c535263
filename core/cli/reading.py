"""The commands that only read: ``models``, ``show``, ``explain``, ``events``."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import click

from longshore.core.cli.client import Client
from longshore.core.cli.decisions import print_decisions
from longshore.core.cli.options import (
    Checked,
    Target,
    json_option,
    pass_client,
    platform_option,
    target_argument,
)
from longshore.core.cli.output import COLOURS, coloured, fields, print_json, say, table
from longshore.core.cli.plan import plan_rows, scheduler_rows
from longshore.core.cli.text import age, moment
from longshore.core.ledger import durations, percentile
from longshore.core.types import Model, State, VersionRecord, Wake, utc_now
from longshore.core.windows import next_after, open_at

_STATES = {state.value: colour for state, colour in COLOURS.items()}


@click.command()
@json_option
@platform_option
@pass_client
def models(client: Client, /, *, as_json: bool) -> None:
    """List all models and their versions.

    READY counts the replicas that are ready, and those that run.

    \b
    Example:
      longshore models
    """
    found = client.models()
    if as_json:
        print_json({"models": found})
    elif not found:
        say("Nothing is registered yet: longshore register NAME VERSION IMAGE")
    else:
        _list(found)


def _list(found: Sequence[Model]) -> None:
    rows = [_row(model, record) for model in found for record in model.versions]
    headings = ("MODEL", "VERSION", "STATE", "READY", "IMAGE", "AGE", "REASON")
    table(headings, rows, colours=_STATES)


def _row(model: Model, record: VersionRecord) -> tuple[str, ...]:
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


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def show(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Show everything that is known about a version.

    Of a model with several versions, a name alone shows these.

    \b
    Example:
      longshore show iris:1
    """
    if target.version is None:
        model = client.model(target.name)
        if len(model.versions) > 1:
            print_json(model) if as_json else _list([model])
            return
    key = target.key(client)
    record, wakes = client.version(key), client.wakes(key)
    if as_json:
        print_json({**record.model_dump(mode="json"), "wakes": wakes})
    else:
        _show(record, wakes)


def _show(record: VersionRecord, wakes: Sequence[Wake]) -> None:
    version, status = record.version, record.status
    state = coloured(status.state)
    say(f"{click.style(str(version.key), bold=True)} is {state}, for {age(status.since)}")
    told = status.model_dump(mode="json", exclude={"state", "since", "retry_at"}, exclude_none=True)
    if status.retry_at:
        told["next try"] = moment(status.retry_at)
    placement, plan = version.placement, version.placement.plan
    content = {
        "status": {
            "wish": record.wish.value,
            **({"pinned": True} if record.pinned else {}),
            **_warm(record),
            **told,
        },
        "image": {
            "asked for": version.spec.image,
            "runs": version.image.pinned,
            "platforms": ", ".join(version.image.platforms),
        },
        "serving": version.serving.model_dump(mode="json"),
        "settings": {
            **version.spec.model_dump(mode="json", exclude={"image", "env"}, exclude_none=True),
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
        "wakes": [*_percentiles(wakes), *(_wake(each) for each in wakes)],
        "registered": moment(version.created_at),
    }
    fields(content)


def _warm(record: VersionRecord) -> dict[str, str]:
    """Tell until when a version is kept warm, or when it will be."""
    windows, now = record.version.spec.scaling.warm, utc_now()
    if opening := open_at(windows, now):
        return {"kept warm": f"until {moment(opening.until)} ({opening.window})"}
    if opening := next_after(windows, now):
        return {"kept warm": f"from {moment(opening.since)} ({opening.window})"}
    return {}


def _percentiles(wakes: Sequence[Wake]) -> Iterator[str]:
    took = durations(wakes)
    half, most = percentile(took, 0.5), percentile(took, 0.95)
    if half is not None and most is not None:
        yield f"ready after {half:.1f} s at the median, {most:.1f} s at the 95th percentile"


def _wake(wake: Wake) -> str:
    """Tell when each phase of a wake was over, in seconds from its beginning."""

    def after(when: datetime | None) -> str:
        return f"{(when - wake.asked_at).total_seconds():.2f} s" if when else ""

    told = f"ready after {after(wake.ready_at)}" if wake.ready_at else "not ready yet"
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
    if wake.held:
        told += f"; {wake.held} held, {wake.longest_hold:.2f} s at most, {wake.lost} lost"
    return f"{moment(wake.asked_at)}: {told}; {wake.reason}"


@click.command()
@target_argument
@json_option
@platform_option
@pass_client
def explain(client: Client, /, *, target: Target, as_json: bool) -> None:
    """Tell what was decided about a version, by whom and why.

    \b
    Example:
      longshore explain iris:1
    """
    decisions = client.decisions(target.key(client))
    if as_json:
        print_json({"decisions": decisions})
    else:
        print_decisions(decisions)


@click.command()
@click.argument("target", required=False, type=Checked("NAME[:VERSION]", Target.parse))
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many."
)
@json_option
@platform_option
@pass_client
def events(client: Client, /, *, target: Target | None, limit: int, as_json: bool) -> None:
    """Tell what happened lately, the newest last.

    \b
    Example:
      longshore events iris:1 --limit 20
    """
    found = client.events(target.key(client) if target else None, limit)
    if as_json:
        print_json({"events": found})
    elif not found:
        say("Nothing has happened yet.")
    else:
        rows = [(moment(each.at), str(each.key), each.kind, each.message) for each in found]
        kinds = {each: _STATES[State(each)] for each in ("ready", "failed")}
        table(("WHEN", "VERSION", "WHAT", "MESSAGE"), rows, colours=kinds)
