"""``longshore restore``: have everything run again that should, and say what does not."""

import time
from collections.abc import Sequence

import click

from longshore.core.cli.client import Client
from longshore.core.cli.failures import Interrupted, StartFailed
from longshore.core.cli.options import json_option, pass_client, platform_option
from longshore.core.cli.output import print_json, say, table
from longshore.core.cli.problems import Problem
from longshore.core.cli.waiting import AWAY, POLL, STALE, outcome, progress_line
from longshore.core.errors import Unavailable
from longshore.core.names import VersionKey
from longshore.core.types import State, VersionRecord, VersionStatus, Wish

HOPELESS_AFTER = 600.0
"""Seconds after which what still starts counts as not having come back."""


@click.command()
@click.option("--plan", is_flag=True, help="Show what is missing, and change nothing.")
@json_option
@platform_option
@pass_client
def restore(client: Client, /, *, plan: bool, as_json: bool) -> None:
    """Bring back every version that should run and does not.

    The platform does so by itself, from what is registered. This tries those at once that failed,
    instead of at their next try, shows how far it has come, and tells in the end what could not
    come back, and why.

    \b
    Examples:
      longshore restore --plan
      longshore restore
    """
    missing = [each for each in _wished(client) if each.status.state is not State.READY]
    if plan:
        _show_plan(missing, as_json)
        return
    begun = time.monotonic()
    for record in missing:
        if record.status.state is State.FAILED:
            client.wake(record.version.key)
    lost = _wait(client, {each.version.key: each.status for each in missing})
    back = len(missing) - len(lost)
    took = time.monotonic() - begun
    if as_json:
        print_json({"back": back, "seconds": round(took, 1), "lost": lost})
    elif missing:
        say(f"{_counted(back)} came back in {took:.0f} s.")
        if lost:
            table(("VERSION", "STATE", "REASON"), [_row(each) for each in lost])
    else:
        say("Everything runs that should.")
    if lost:
        raise StartFailed(
            f"{_counted(len(lost))} did not come back",
            hint="The platform goes on trying. Details: longshore show NAME:VERSION",
        )


def _wished(client: Client) -> list[VersionRecord]:
    return [
        record for model in client.models() for record in model.versions if record.wish is Wish.RUN
    ]


def _show_plan(missing: Sequence[VersionRecord], as_json: bool) -> None:
    if as_json:
        print_json({"missing": missing})
    elif missing:
        rows = [
            (*_row(each)[:2], each.version.image.pinned, each.status.reason) for each in missing
        ]
        table(("VERSION", "STATE", "IMAGE", "REASON"), rows)
    else:
        say("Everything runs that should.")


def _wait(client: Client, before: dict[VersionKey, VersionStatus]) -> list[VersionRecord]:
    """Wait until each version is ready or has failed again; return those that are not ready."""
    begun = seen = time.monotonic()
    open_ones = dict(before)
    lost: list[VersionRecord] = []
    try:
        with progress_line() as show:
            while open_ones and time.monotonic() - begun < HOPELESS_AFTER:
                try:
                    records = {each.version.key: each for each in _wished(client)}
                except (Unavailable, Problem) as error:
                    if time.monotonic() - seen > AWAY:
                        raise
                    show(f"waiting for the platform ({error.message})")
                else:
                    seen = time.monotonic()
                    open_ones = _still_open(open_ones, records, patience=seen - begun < STALE)
                    ready = [
                        each
                        for each in before
                        if each in records and records[each].status.state is State.READY
                    ]
                    lost = [
                        records[each] for each in before if each in records and each not in ready
                    ]
                    show(f"{len(ready)} of {_counted(len(before))} are ready")
                time.sleep(POLL)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped waiting; the platform goes on by itself", hint="Look: longshore models"
        ) from None
    return lost


def _still_open(
    waited_for: dict[VersionKey, VersionStatus],
    records: dict[VersionKey, VersionRecord],
    *,
    patience: bool,
) -> dict[VersionKey, VersionStatus]:
    """Return those that neither are ready nor have failed since."""
    left = {}
    for key, before in waited_for.items():
        if key not in records:
            # Deleted or put to sleep meanwhile.
            continue
        status = records[key].status
        stale = patience and outcome(status) == outcome(before)
        if status.state is not State.READY and (status.state is not State.FAILED or stale):
            left[key] = before
    return left


def _row(record: VersionRecord) -> tuple[str, str, str]:
    return str(record.version.key), record.status.state.value, record.status.reason


def _counted(number: int) -> str:
    return "1 version" if number == 1 else f"{number} versions"
