"""``longshore register``."""

from collections.abc import Sequence
from typing import Any

import click
from pydantic import ValidationError

from longshore.core.cli.client import Client, pass_client
from longshore.core.cli.options import Checked, json_option, platform_option
from longshore.core.cli.output import print_json, say, table, tell
from longshore.core.cli.waiting import interrupted, wait_until_ready
from longshore.core.errors import InvalidInput
from longshore.core.names import VersionKey, check_model_name, check_version_name
from longshore.core.quantities import mebibytes, millicores
from longshore.core.types import VersionRecord, VersionSpec


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!r} sets nothing: write KEY=VALUE")
    return name, value


def _checked_cpu(text: str) -> str:
    millicores(text)
    return text


def _checked_memory(text: str) -> str:
    mebibytes(text)
    return text


# Where each option goes in a VersionSpec.
_TABLES = {
    "cpu": "resources",
    "memory": "resources",
    "gpu": "resources",
    "min": "scaling",
    "max": "scaling",
    "target": "scaling",
    "idle": "scaling",
    "startup": "limits",
    "concurrency": "limits",
    "total": "limits",
}


@click.command()
@click.argument("name", type=Checked("NAME", check_model_name))
@click.argument("version", type=Checked("VERSION", check_version_name))
@click.argument("image")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port in the container.")
@click.option("--health-path", help="Path that answers 200 when the model is ready.")
@click.option("--predict-path", help="Path that takes predictions.")
@click.option("--contract", help="How to talk to the container.")
@click.option(
    "--env",
    multiple=True,
    type=Checked("KEY=VALUE", _pair),
    help="Environment variable for the container; may be repeated.",
)
@click.option("--command", help="Arguments instead of the image's CMD, split as a shell does.")
@click.option("--min", type=click.IntRange(0), help="Fewest replicas.  [default: 1]")
@click.option("--max", type=click.IntRange(1), help="Most replicas.  [default: 1]")
@click.option(
    "--target",
    type=click.IntRange(1),
    help="Requests in flight per replica that scaling aims at.  [default: 8]",
)
@click.option(
    "--idle",
    type=float,
    help="Seconds without a request until a version with --min 0 sleeps; 0: never.  [default: 600]",
)
@click.option("--cpu", type=Checked("CPU", _checked_cpu), help="CPU limit: 0.5 (cores) or 500m.")
@click.option("--memory", type=Checked("MEMORY", _checked_memory), help="Memory limit: 512Mi, 2G.")
@click.option("--gpu", type=click.IntRange(0), help="Whole GPUs.  [default: 0]")
@click.option(
    "--startup", type=float, help="Seconds from start to readiness, at most.  [default: 300]"
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="Most requests in flight on one replica; beyond it callers get 503.  [default: 128]",
)
@click.option(
    "--timeout", "total", type=float, help="Seconds that a request may take.  [default: 600]"
)
@click.option(
    "--writable-root",
    is_flag=True,
    default=None,
    help="Let the container write anywhere; otherwise tried read-only first.",
)
@click.option("--backend", help="Where to run it.  [default: the platform's]")
@click.option("--wait/--no-wait", default=True, help="Wait until it is ready.  [default: wait]")
@click.option("--dry-run", is_flag=True, help="Show the plan, and store nothing.")
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
    as_json: bool,
    **options: Any,
) -> None:
    """Register a version of a model, and have it served.

    IMAGE is where the image is, as docker pull takes it. What it resolves to now is what runs from
    then on; a version never changes.

    \b
    Examples:
      longshore register iris 1 localhost:5001/iris:1
      longshore register chat 2 registry.example.com/chat:2 --memory 4Gi --startup 600
    """
    key = VersionKey(name, version)
    spec = build_spec(options)
    if dry_run:
        _show_plan(client, key, spec, as_json)
        return
    record, created = client.register(key, spec)
    if not as_json:
        tell(f"{key} is {'registered' if created else 'registered already; nothing changed'}")
    if wait:
        try:
            wait_until_ready(client, key)
        except KeyboardInterrupt:
            raise interrupted(key) from None
        record = client.version(key)
    if as_json:
        print_json({"record": record, "created": created})
    elif wait:
        _show_ready(client, key, record)


def build_spec(options: dict[str, Any]) -> VersionSpec:
    """Return the spec for the options that were given.

    Raises:
        InvalidInput: one of them breaks a rule, which the message states.
    """
    given = {option: value for option, value in options.items() if value not in (None, ())}
    content: dict[str, Any] = {}
    for option, value in given.items():
        if option in _TABLES:
            content.setdefault(_TABLES[option], {})[option] = value
        elif option == "env":
            content["env"] = dict(value)
        elif option == "command":
            content["command"] = _split(value)
        else:
            content[option] = value
    scaling = content.get("scaling", {})
    if "max" not in scaling and scaling.get("min", 0) > 1:
        scaling["max"] = scaling["min"]
    try:
        return VersionSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{where}: {message}" if where else message) from error


def _split(text: str) -> Sequence[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidInput(f"--command: {error}", hint="Quote it as for a shell.") from error


def _show_plan(client: Client, key: VersionKey, spec: VersionSpec, as_json: bool) -> None:
    version, decisions = client.preflight(key, spec)
    if as_json:
        print_json({"version": version, "decisions": decisions})
        return
    placement = version.placement
    table(
        ["what", "plan"],
        [
            ["image", version.image.pinned],
            ["contract", f"{version.serving.contract}: {version.serving.why}"],
            ["port", str(version.serving.port)],
            ["health", f"GET {version.serving.health_path}"],
            ["predictions", f"POST {version.serving.predict_path}"],
            ["hardware", placement.plan.target],
            ["backend", placement.backend],
            ["nodes", ", ".join(node.name for node in placement.nodes[:5])],
        ],
    )
    tell(f"Nothing was stored. {len(decisions)} decisions; all of them: --json")


def _show_ready(client: Client, key: VersionKey, record: VersionRecord) -> None:
    if record.status.reason:
        tell(f"Note: {record.status.reason}")
    say(
        f"{key} is ready. Call it:\n"
        f"  longshore predict {key} -d DATA\n"
        f"  curl {client.url}/v1/models/{key.name}/versions/{key.version}/predict -d DATA"
    )
