"""What is measured: one function for each name that ``--only`` takes."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace

from bench import streams
from bench.load import percentile, steady, wrk
from bench.processes import running_on
from bench.report import Result, Row
from bench.rounds import Bench, times
from bench.subjects import Crowd, Subject

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

HEADS = 1000
"""Different heads in turn, so that no connection sees the same one twice in a row."""

UPDATES = 20
"""How often a second the table changes where that is measured."""


def requests(bench: Bench) -> Iterator[Result]:
    """As many small predictions as 32 connections can ask for."""
    with bench.everybody() as running:
        rows = bench.compare("requests", running, lambda each: bench.ask(each, 32))
    note = ""
    if bench.ray_python is None:
        note = "Ray Serve was not measured: --ray-python PATH names a Python that has it."
        bench.say(note)
    else:
        # It works even while nobody asks, so it gets the machine for itself.
        with bench.subjects.ray_serve(bench.ray_python) as ray:
            bench.warm(ray)
            rows |= bench.compare("requests", [ray], lambda each: bench.ask(each, 32))
    yield Result("requests", "Small predictions, 32 connections", rows, "requests/s", note=note)
    with bench.references() as running:
        rows = bench.compare("heads", running, lambda each: bench.ask(each, 32, heads=HEADS))
    title = "Small predictions, 32 connections, each request with a head of its own"
    yield Result("heads", title, rows, "requests/s")


def one_connection(bench: Bench) -> Iterator[Result]:
    """What a lonely caller waits for an answer."""
    with bench.everybody() as running:
        rows = bench.compare("one connection", running, lambda each: bench.ask(each, 1))
    yield Result("one-connection", "Small predictions, one connection", rows, "p50 ms")


def half_rate(bench: Bench) -> Iterator[Result]:
    """Latency at half of Longshore's top rate, the same for all."""
    with bench.references() as running:
        top = wrk(running[-1], "predict", connections=32, seconds=bench.seconds)
        rate = top.rate / 2

        def ask(subject: Subject) -> Row:
            process = subject.process
            used, waited = process.cpu_seconds(), process.waited_seconds()
            path = subject.path("predict")
            seen = steady(subject, path, rate=rate, seconds=bench.seconds)
            return {
                **times(seen),
                "longest ms": seen.longest,
                "core %": (process.cpu_seconds() - used) / bench.seconds * 100,
                "waited for it %": (process.waited_seconds() - waited) / bench.seconds * 100,
                "client late p99 ms": seen.late_p99,
                "errors": seen.errors,
            }

        def ask_undisturbed(subject: Subject) -> Row:
            with subject.process.undisturbed():
                return ask(subject)

        title = f"Small predictions, {rate:,.0f} a second: half of Longshore's top rate"
        note = "The client's own lateness in sending is part of all times."
        rows = bench.compare("half rate", running, ask)
        yield Result("half-rate", title, rows, "p99 ms", note=note)
        try:
            rows = bench.compare("half rate, undisturbed", running, ask_undisturbed)
        except PermissionError:
            bench.say("Not measured undisturbed: only root may keep programs off a core.")
            return
    title = "The same, while no ordinary program may take a core from the proxy"
    yield Result("half-rate-undisturbed", title, rows, "p99 ms")


def bodies(bench: Bench) -> Iterator[Result]:
    """Throughput of long bodies, and the memory that they take."""
    sizes = {"1 KiB": KIB, "100 KiB": 100 * KIB, "10 MiB": 10 * MIB}
    if bench.full:
        sizes["1 GiB"] = GIB
    with ExitStack() as stack:
        backend = stack.enter_context(bench.subjects.streaming_backend())
        calls = ["upload", *(f"download/{size}" for size in sizes.values())]
        running = [
            backend,
            stack.enter_context(bench.subjects.nginx(backend)),
            stack.enter_context(bench.subjects.haproxy(backend)),
            stack.enter_context(bench.subjects.longshore(backend, *calls)),
        ]
        for name, size in sizes.items():
            for way, call, sent in (("up", "upload", size), ("down", f"download/{size}", 0)):

                def move(
                    subject: Subject, call: str = call, sent: int = sent, size: int = size
                ) -> Row:
                    return bench.move(subject, call, sent=sent, size=size)

                title = f"Bodies of {name}, {way}"
                rows = bench.compare(title, running, move)
                yield Result(f"bodies-{way}-{size}", title, rows, "MiB/s")


def events(bench: Bench) -> Iterator[Result]:
    """How long an event is on its way, and what open streams take."""
    short, endless = "events/5/5", "events/1000000/1000"
    count = 5000 if bench.full else 1000

    def follow(subject: Subject) -> Row:
        seen = streams.one_by_one(subject, short, round(bench.seconds * 20))
        return {
            "first p50 ms": percentile(seen.first, 50),
            "first p99 ms": percentile(seen.first, 99),
            "later p50 ms": percentile(seen.later, 50),
            "later p99 ms": percentile(seen.later, 99),
        }

    def hold(subject: Subject) -> Row:
        before = subject.process.rss_mib()
        with streams.many(subject, endless, count) as opened:
            # The first second is that of the opening.
            opened.read(2)
            delays, broken = opened.read(max(3, bench.seconds))
            memory = subject.process.rss_mib()
        return {
            "event p50 ms": percentile(delays, 50),
            "event p99 ms": percentile(delays, 99),
            "memory MiB": memory,
            "grew MiB": max(0.0, memory - before),
            "errors": broken,
        }

    with (
        bench.subjects.streaming_backend() as backend,
        bench.subjects.nginx(backend) as nginx,
        bench.subjects.longshore(backend, short, endless) as longshore,
    ):
        running = [backend, nginx, longshore]
        rows = bench.compare("events", running, follow)
        title = "Server-sent events, from the backend's sending to the client's receiving"
        yield Result("events", title, rows, "first p50 ms")
        rows = bench.compare(f"{count} streams", running, hold)
        title = f"{count:,} open streams, each with an event a second"
        yield Result("streams", title, rows, "memory MiB")


def versions(bench: Bench) -> Iterator[Result]:
    """What many registered versions cost, and what callers feel of changes to the table."""
    crowd = Crowd(models=1000, versions=10)
    start = bench.subjects
    with (
        start.backend(addresses=crowd.models) as backend,
        start.nginx(backend, upstreams=crowd.models) as nginx,
        start.longshore(backend, crowd=Crowd(models=1, versions=1)) as one,
        start.longshore(backend, crowd=crowd) as crowded,
    ):
        registered = f"{crowd.models * crowd.versions:,} versions"
        alone = replace(one, name="1 version")
        calm = replace(crowded, name=f"{registered}, 1 asked")
        many = replace(crowded, name=f"{registered}, {crowd.models:,} asked")
        same_nginx = replace(nginx, name="nginx, 1 upstream asked")
        many_nginx = replace(nginx, name=f"nginx, {crowd.models:,} upstreams asked")
        asked = {
            alone.name: 1,
            calm.name: 1,
            many.name: crowd.models,
            same_nginx.name: 1,
            many_nginx.name: crowd.models,
        }

        def ask(subject: Subject) -> Row:
            # All with as many different heads, which cost something by themselves.
            row = bench.ask(subject, 32, versions=asked[subject.name], heads=HEADS)
            return {**row, "memory MiB": subject.process.rss_mib()}

        running = [bench.warm(alone), bench.warm(calm), many, same_nginx, many_nginx]
        rows = bench.compare("versions", running, ask)
        title = "Many registered versions, asked in turn over 32 connections"
        ours = {name: row for name, row in rows.items() if not name.startswith("nginx")}
        yield Result("versions", title, ours, "requests/s", reference=alone.name)
        title = "nginx with as many upstreams, asked in the same turns"
        theirs = {name: row for name, row in rows.items() if name.startswith("nginx")}
        yield Result("upstreams", title, theirs, "requests/s", reference=same_nginx.name)

        rate = rows[many.name]["requests/s"] / 2
        title = f"A steady client, {rate:,.0f} a second, while an endpoint comes and goes"
        same, changing = "unchanged", f"{UPDATES} updates/s"

        def feel(subject: Subject) -> Row:
            return _feel(bench, subject, rate, UPDATES if subject.name == changing else 0)

        running = [replace(many, name=same), replace(many, name=changing)]
        rows = bench.compare("updates", running, feel)
        yield Result("updates", title, rows, "longest ms", reference=same)


def workers(bench: Bench) -> Iterator[Result]:
    """What a second worker is worth, and how evenly the two share."""
    programs = bench.subjects.programs
    cores = programs.cores.pair()
    start = replace(bench.subjects, programs=replace(programs, cores=cores))
    everywhere = programs.cores.proxy | programs.cores.load
    with (
        running_on(cores.load or everywhere),
        start.backend() as backend,
        start.longshore(backend) as alone,
        start.longshore(backend, workers=2) as both,
    ):
        one, two = replace(alone, name="1 worker"), replace(both, name="2 workers")

        def ask(subject: Subject) -> Row:
            before = _answered(subject)
            row = bench.ask(subject, 32)
            shares = [
                after - answered for after, answered in zip(_answered(subject), before, strict=True)
            ]
            least = min(shares) / sum(shares) * 100 if len(shares) > 1 else math.nan
            each = row["requests/s"] / row["core %"] * 100
            return {**row, "requests/core s": each, "smaller share %": least}

        rows = bench.compare("workers", [bench.warm(one), bench.warm(two)], ask)
    note = (
        ""
        if cores.load
        else "Load generator and backend compete for the cores of the workers, so "
        "the ratio means nothing here: it takes two cores that are free of them."
    )
    title = "One worker and two, small predictions, 32 connections"
    yield Result("workers", title, rows, "requests/s", reference=one.name, note=note)


def _answered(subject: Subject) -> list[int]:
    """Return how many requests each worker answered since its start."""
    subject.process.tell("shares")
    return list(json.loads(subject.process.hear()).values())


def _feel(bench: Bench, subject: Subject, rate: float, updates: int) -> Row:
    if updates:
        subject.process.tell(f"churn {bench.seconds} {updates}")
    path = "/v1/models/crowd-0/versions/0/predict"
    seen = steady(subject, path, rate=rate, seconds=bench.seconds)
    took = [each * 1000 for each in json.loads(subject.process.hear())] if updates else []
    return {
        **times(seen),
        "longest ms": seen.longest,
        "client late p99 ms": seen.late_p99,
        "errors": seen.errors,
        "update p50 ms": percentile(took, 50),
        "update longest ms": max(took, default=math.nan),
    }


MEASURES: Mapping[str, Callable[[Bench], Iterator[Result]]] = {
    "requests": requests,
    "one-connection": one_connection,
    "half-rate": half_rate,
    "bodies": bodies,
    "events": events,
    "versions": versions,
    "workers": workers,
}
