"""What the web page asks for: all of a view at once, in the words of the command line.

It is made for the page of the same release, and may change with it; programs use the other calls
under /api. All text of others is made harmless here, and is text for the page, never HTML.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator

from longshore.core.platform import Platform
from longshore.core.traffic import warnings
from longshore.core.types import (
    Decision,
    Event,
    KnownNode,
    Load,
    Model,
    Placement,
    State,
    TrafficRule,
    Value,
    VersionRecord,
    VersionSpec,
    Wish,
)
from longshore.core.windows import zone_of
from longshore.core.words import node_facts
from longshore.core.words.decisions import inputs_of, outcome_of
from longshore.core.words.events import EVENTS, event_row
from longshore.core.words.fields import Field, told
from longshore.core.words.loads import called, load_of, traffic_of
from longshore.core.words.plan import plan_lines
from longshore.core.words.text import age, harmless, moment, short_digests
from longshore.core.words.traffic import rule_lines, weight_rows
from longshore.core.words.versions import content_of, why_of
from longshore.router.management import Force, Name, Number, known_version, new_version
from longshore.router.table import Table

Text = Annotated[str, AfterValidator(harmless)]
Cells = tuple[Text, ...]

SHOWN = 200
"""Versions that are told of unless more are asked for."""

EVENTS_SHOWN = 100
"""How many of the newest events are told."""


class Row(Value):
    """One version among all; what there is nothing to say of is empty."""

    model: str
    version: str
    state: State
    share: str
    ready: str
    load: str
    called: str
    woken: str
    image: Text
    age: str
    why: Text


class Overview(Value):
    """Versions, by name; of many the first ones."""

    total: int
    """How many there are."""
    states: Mapping[State, int]
    """How many are in which state, of those in any."""
    found: int
    """How many fit the filter."""
    rows: tuple[Row, ...]
    """As many of these as were asked for."""


class Said(Value):
    """A decision in words."""

    hook: Text
    plugin: Text
    when: str
    outcome: Cells
    inputs: Text
    why: Text


class Traffic(Value):
    """How a model's requests are shared."""

    lines: Cells
    weights: tuple[Cells, ...]
    warnings: Cells
    rule: TrafficRule
    """To be changed and sent back."""
    versions: tuple[str, ...]
    """Of the model, oldest first."""


class Events(Value):
    """What happened, the newest first."""

    headings: Cells
    rows: tuple[Cells, ...]


class Shown(Value):
    """All that there is to tell of a version."""

    model: str
    version: str
    state: State
    since: str
    why: Text
    hint: Text
    log_tail: Cells
    share: str
    load: str
    called: str
    plan: Cells
    warnings: Cells
    content: tuple[Field, ...]
    decisions: tuple[Said, ...]
    events: Events
    traffic: Traffic
    can: tuple[str, ...]
    """Which calls make a difference now."""


class Facts(Value):
    """What is known of a node."""

    name: Text
    backend: Text
    facts: tuple[Cells, ...]
    """What, how sure, what of it, and where it was read."""
    tables: tuple[tuple[Cells, tuple[Cells, ...]], ...]
    unread: tuple[Cells, ...]


class Nodes(Value):
    """All nodes."""

    headings: Cells
    rows: tuple[Cells, ...]
    nodes: tuple[Facts, ...]


class Outlook(Value):
    """What registering would plan."""

    plan: Cells
    warnings: Cells


def _zone(
    zone: Annotated[
        str, Query(max_length=64, description="Whose clock times are told by: Europe/Zurich.")
    ] = "UTC",
) -> tzinfo:
    try:
        return zone_of(zone)
    except ValueError:
        # A browser may know a zone that this machine does not, and times are told all the same.
        return UTC


Zone = Annotated[tzinfo, Depends(_zone)]


def page_routes(platform: Platform, table: Table) -> APIRouter:
    """Return the endpoints.

    Args:
        platform: asked.
        table: knows which share of requests each version gets.
    """
    router = APIRouter(prefix="/api/page", include_in_schema=False)

    @router.get("/overview")
    async def overview(
        find: Annotated[str, Query(alias="filter", max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = SHOWN,
    ) -> Overview:
        glance = await platform.glance()
        shares = table.shares()
        records = [(model, record) for model in glance.models for record in model.versions]
        wanted = find.lower().split()
        found = [pair for pair in records if all(word in _text(pair[1]) for word in wanted)]
        states = Counter(record.status.state for _, record in records)
        return Overview(
            total=len(records),
            states={state: states[state] for state in State if states[state]},
            found=len(found),
            rows=tuple(
                _row(
                    model,
                    record,
                    glance.load(record.version.key),
                    glance.woken(record.version.key),
                    shares.get(record.version.key, 0),
                )
                for model, record in found[:limit]
            ),
        )

    @router.get("/models/{name}/versions/{version}")
    async def shown(name: Name, version: Number, zone: Zone) -> Shown:
        key = known_version(name, version)
        record, model = await platform.version(key), await platform.model(name)
        wakes, decisions = await platform.wakes(key), await platform.decisions(key)
        events = await platform.events(key, EVENTS_SHOWN)
        load = (await platform.glance()).load(key)
        status, placement = record.status, record.version.placement
        return Shown(
            model=key.name,
            version=key.version,
            state=status.state,
            since=age(status.since),
            why=why_of(status),
            hint=status.hint,
            log_tail=status.log_tail,
            share=traffic_of(table.shares().get(key, 0), model.traffic, key.version),
            load=load_of(load),
            called=called(load),
            plan=plan_lines(placement),
            warnings=_warnings(placement),
            content=told(content_of(record, wakes, zone)),
            decisions=tuple(_said(each, zone) for each in decisions),
            events=_events(events, zone),
            traffic=_traffic(model),
            can=_can(record),
        )

    @router.post("/models/{name}/versions/{version}/preflight")
    async def preflight(
        name: Name, version: Number, spec: VersionSpec, force: Force = False
    ) -> Outlook:
        plan = await platform.preflight(new_version(name, version), spec, force=force)
        placement = plan.version.placement
        return Outlook(plan=plan_lines(placement), warnings=_warnings(placement))

    @router.get("/events")
    async def happened(zone: Zone) -> Events:
        return _events(await platform.events(None, EVENTS_SHOWN), zone)

    @router.get("/nodes")
    async def nodes() -> Nodes:
        known = await platform.nodes()
        return Nodes(
            headings=node_facts.NODES,
            rows=tuple(map(node_facts.node_row, known)),
            nodes=tuple(map(_facts, known)),
        )

    return router


def _text(record: VersionRecord) -> str:
    """Return what a filter is held against."""
    status, key = record.status, record.version.key
    return f"{key} {status.state} {record.version.spec.image} {why_of(status)}".lower()


def _row(model: Model, record: VersionRecord, load: Load, woken: float | None, share: float) -> Row:
    version, status = record.version, record.status
    return Row(
        model=version.key.name,
        version=version.key.version,
        state=status.state,
        share=traffic_of(share, model.traffic, version.key.version),
        ready=f"{status.ready}/{status.replicas}",
        load=load_of(load),
        called=called(load),
        woken="" if woken is None else f"{woken:.1f} s",
        image=version.spec.image,
        age=age(version.created_at),
        why=why_of(status),
    )


def _said(decision: Decision, zone: tzinfo) -> Said:
    return Said(
        hook=decision.hook,
        plugin=decision.plugin,
        when=moment(decision.at, zone),
        outcome=tuple(outcome_of(decision)),
        inputs=inputs_of(decision, zone),
        why=short_digests(decision.why),
    )


def _events(events: Sequence[Event], zone: tzinfo) -> Events:
    return Events(headings=EVENTS, rows=tuple(event_row(each, zone) for each in reversed(events)))


def _warnings(placement: Placement) -> tuple[str, ...]:
    return tuple(map(short_digests, placement.plan.warnings))


def _traffic(model: Model) -> Traffic:
    return Traffic(
        lines=tuple(rule_lines(model.traffic)),
        weights=tuple(weight_rows(model)),
        warnings=tuple(warnings(model)),
        rule=model.traffic,
        versions=tuple(record.version.key.version for record in model.versions),
    )


def _can(record: VersionRecord) -> tuple[str, ...]:
    """Return which calls make a difference now."""
    runs, failed = record.wish is Wish.RUN, record.status.state is State.FAILED
    return tuple(
        call
        for call, makes_a_difference in (
            ("wake", not runs or failed),
            ("sleep", runs),
            ("pin", not record.pinned and record.wish is not Wish.COLLECT),
            ("unpin", record.pinned),
            ("delete", True),
        )
        if makes_a_difference
    )


def _facts(node: KnownNode) -> Facts:
    facts = node.profile.facts
    return Facts(
        name=node.profile.node.name,
        backend=node.backend,
        facts=tuple(
            (
                node_facts.fact_name(name),
                facts[name].confidence.value,
                node_facts.fact_summary(name, facts[name]),
                facts[name].source,
            )
            for name in node_facts.fact_names(facts)
        ),
        tables=tuple(
            (tuple(headings), tuple(map(tuple, rows)))
            for headings, rows in node_facts.tables(facts)
        ),
        unread=tuple(
            (", ".join(names), why) for why, names in node_facts.reasons_unread(facts).items()
        ),
    )
