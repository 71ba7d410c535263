"""``longshore register``."""

import shlex
from typing import Any

import click
from pydantic import ValidationError

from longshore.core.cli.client import Client
from longshore.core.cli.decisions import print_decisions
from longshore.core.cli.options import (
    Checked,
    json_option,
    model_argument,
    pass_client,
    platform_option,
)
from longshore.core.cli.output import fields, print_json, say, tell
from longshore.core.cli.plan import show_brief, tell_warnings
from longshore.core.cli.waiting import busy, wait_until_ready
from longshore.core.cli.wishes import variable, wish_options
from longshore.core.names import VersionKey, check_version_name
from longshore.core.quantities import days, seconds
from longshore.core.types import State, Version, VersionRecord, VersionSpec
from longshore.core.windows import parse
from longshore.core.words.plan import plan_lines, plan_rows
from longshore.core.words.text import one_line

# Where each option stands in a VersionSpec, if not at its top.
_TABLES = {
    "resources": ("cpu", "memory", "gpu", "gpu_memory"),
    "scaling": ("min", "max", "target", "idle", "warm"),
    "limits": ("startup", "concurrency", "connect", "first_byte", "total"),
    "security": ("run_as", "capabilities", "privilege_escalation", "seccomp_unconfined"),
}

TIME = Checked("SECONDS", seconds)
"""Seconds, or what names its unit: ``10m``."""

_TOGETHER = {"scaling": "--min and --max", "resources": "--gpu and --gpu-memory"}
"""Options of which one is wrong beside the other."""

_CALLED = {"capabilities": "capability", "architecture": "arch"}
"""Options that add to a list are called by one of the things in it; others are shorter."""


def _path(text: str) -> str:
    if not (text.startswith("/") and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"{text!a} is no path: it starts with '/', and what is odd is %-encoded")
    return text


@click.command()
@model_argument
@click.argument("version", type=Checked("VERSION", check_version_name))
@click.argument("image")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="TCP port that the container listens on.  [default: found in the image, else 8080]",
)
@click.option(
    "--health-path",
    type=Checked("PATH", _path),
    help="Answers 200 once the model is loaded.  [default: found in the image, else /health]",
)
@click.option(
    "--predict-path",
    type=Checked("PATH", _path),
    help="Takes predictions.  [default: found in the image, else /predict]",
)
@click.option(
    "--contract", metavar="NAME", help="How to talk to it.  [default: found in the image]"
)
@click.option(
    "--env",
    multiple=True,
    type=Checked("NAME=VALUE", variable),
    help="Variable for the container; may be given again.",
)
@click.option(
    "--command",
    type=Checked("ARGUMENTS", shlex.split),
    help="Arguments instead of the image's CMD, in one word, split as a shell does.",
)
@click.option("--min", type=click.IntRange(0, 1000), help="Fewest replicas.  [default: 1]")
@click.option(
    "--max", type=click.IntRange(1, 1000), help="Most replicas.  [default: 1, or --min if larger]"
)
@click.option(
    "--target",
    type=click.IntRange(1),
    help="Requests in flight per replica that scaling aims at.  [default: 8]",
)
@click.option(
    "--idle",
    type=TIME,
    help="How long after the last answer a version with --min 0 goes to sleep, until its "
    "next request; 0: never.  [default: 600]",
)
@click.option(
    "--warm",
    multiple=True,
    type=Checked("WINDOW", lambda text: parse(text).text),
    help="When a version with --min 0 stays awake though nobody calls it: "
    "'mon-fri 08:00-18:00 Europe/Zurich'; may be given again.",
)
@wish_options
@click.option(
    "--startup",
    type=TIME,
    help="How long a replica may take to become ready.  [default: 300]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="Most requests in flight on one replica; beyond it callers get 503.  [default: 128]",
)
@click.option(
    "--connect",
    type=TIME,
    help="How long a replica may take to accept a connection.  [default: 2]",
)
@click.option(
    "--first-byte",
    type=TIME,
    help="How long an answer may take to begin, once the request is sent.  [default: 60]",
)
@click.option(
    "--timeout",
    "total",
    type=TIME,
    help="How long a request may take in all.  [default: 600]",
)
@click.option(
    "--writable-root",
    is_flag=True,
    default=None,
    help="Let the container write to its root file system.  [default: tried read-only first]",
)
@click.option(
    "--run-as",
    metavar="UID",
    type=click.IntRange(0, 2**31 - 1),
    help="User id to run as; 0 is root.  [default: the image's own, on Kubernetes never root]",
)
@click.option(
    "--capability",
    "capabilities",
    metavar="NAME",
    multiple=True,
    help="Linux capability to keep (NET_BIND_SERVICE); may be given again.  [default: none]",
)
@click.option(
    "--privilege-escalation",
    is_flag=True,
    default=None,
    help="Let programs in the image gain rights that their parent lacks (setuid).",
)
@click.option(
    "--seccomp-unconfined",
    is_flag=True,
    default=None,
    help="Let it use system calls that the engine's profile refuses.",
)
@click.option(
    "--retention",
    type=Checked("DAYS", days),
    help="Collect it after so long without a call, in days, or as 12h; 0: never.  [default: the "
    "platform's, 30]",
)
@click.option("--backend", metavar="NAME", help="Where to run it.  [default: the platform's]")
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@click.option("--dry-run", is_flag=True, help="Show the whole plan, and store nothing.")
@click.option(
    "--preflight",
    is_flag=True,
    help="Tell the hardware plan in two lines, and store nothing; ends with 1 if no node fits.",
)
@click.option("--force", is_flag=True, help="Register it although no node fits.")
@json_option
@platform_option
@pass_client
def register(
    client: Client,
    /,
    *,
    name: str,
    version: str,
    wait: bool,
    dry_run: bool,
    preflight: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Register a version of a model, and have it served.

    IMAGE is where the image is, as docker pull takes it. What it means now, its digest, is what
    runs from then on. A version never changes: registering the same again does nothing. Times are
    in seconds, or in the unit that they name: 90s, 10m, 2h, 1d.

    \b
    Examples:
      longshore register iris 1 localhost:5001/iris:1
      longshore register chat 2 registry.example.com/chat:2 --memory 4Gi --startup 600
      longshore register chat 3 registry.example.com/chat:3 --gpu 1 --gpu-memory 20Gi --preflight
    """
    key = VersionKey(name, version)
    spec = build_spec(options)
    if preflight and not (dry_run or as_json):
        show_brief(client, key, spec, force=force)
        return
    if dry_run or preflight:
        _show_plan(client, key, spec, as_json, force=force)
        return
    with busy(f"{key}: reading the image and planning"):
        record, created = client.register(key, spec, force=force)
    tell(f"{key} is {'registered' if created else 'registered already, nothing changed'}")
    for line in plan_lines(record.version.placement):
        tell(one_line(line))
    tell_warnings(record.version.placement)
    if wait:
        record = wait_until_ready(client, key)
    if as_json:
        print_json({"record": record, "created": created})
    elif wait:
        _show_outcome(client, record)


def build_spec(options: dict[str, Any]) -> VersionSpec:
    """Return the spec for the options that were given.

    Raises:
        click.BadParameter: one of them breaks a rule, which the message states.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    for option, what in (("env", "a variable"), ("node_selector", "a label")):
        if pairs := given.get(option):
            given[option] = dict(pairs)
            if len(given[option]) < len(pairs):
                hint = f"--{option.replace('_', '-')}"
                raise click.BadParameter(f"{what} is set twice", param_hint=hint)
    if "warm" in given and given.get("min", 1):
        raise click.UsageError("--warm needs --min 0: no other version sleeps by itself")
    if given.get("min", 0) > 1:
        given.setdefault("max", given["min"])
    content = {
        table: {name: given.pop(name) for name in names if name in given}
        for table, names in _TABLES.items()
    }
    try:
        return VersionSpec.model_validate(
            {**given, **{table: values for table, values in content.items() if values}}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise click.BadParameter(
            first["msg"].removeprefix("Value error, "), param_hint=_option(first["loc"])
        ) from None


def _option(location: tuple[int | str, ...]) -> str | None:
    """Return how the command line calls a field of a VersionSpec."""
    match location:
        case ():
            return None
        case ("image",):
            return "IMAGE"
        case ("scaling" | "resources" as table,):
            return _TOGETHER[table]
        case ("limits", "total"):
            return "--timeout"
        case ("resources" | "scaling" | "limits" | "security", field, *_) | (field, *_):
            return option_of(str(field))
    return None


def option_of(name: str) -> str:
    """Return how the command line calls the option of this name."""
    return f"--{_CALLED.get(name, name).replace('_', '-')}"


def _show_plan(
    client: Client, key: VersionKey, spec: VersionSpec, as_json: bool, *, force: bool
) -> None:
    with busy(f"{key}: reading the image and planning"):
        version, decisions = client.preflight(key, spec, force=force)
    if as_json:
        print_json({"version": version, "decisions": decisions})
        return
    fields({str(key): _plan(version)})
    say("")
    print_decisions(decisions)
    say("\nNothing was stored. Without --dry-run it is.")


def _plan(version: Version) -> dict[str, Any]:
    serving, placement = version.serving, version.placement
    plan = placement.plan
    return {
        "image": version.image.pinned,
        "contract": f"{serving.contract} ({serving.confidence}: {serving.why})",
        "port": serving.port,
        "health": f"GET {serving.health_path}",
        "predictions": f"POST {serving.predict_path}",
        "backend": placement.backend,
        "nodes": ", ".join(f"{node.name} ({node.score:.0f})" for node in placement.nodes),
        "hardware": dict(plan_rows(plan)),
        "warnings": list(plan.warnings),
    }


def _show_outcome(client: Client, record: VersionRecord) -> None:
    key, status = record.version.key, record.status
    if status.state is not State.READY:
        say(f"{key} was put to sleep. Wake it: longshore wake {key}")
        return
    say(f"{key} is ready.")
    if status.reason:
        say(f"Note: {one_line(status.reason)}")
    url = f"{client.url}/v1/models/{key.name}/versions/{key.version}/predict"
    say(
        f"Call it:\n  longshore predict {key} -d DATA\n"
        f"  curl {url} -H 'content-type: application/json' -d DATA"
    )
