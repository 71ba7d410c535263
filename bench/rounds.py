"""How subjects are measured: in turns, so that a change of the machine hits them all."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import MIB, Outcome, transfer, wrk
from bench.processes import BenchFailed
from bench.report import Row, medians
from bench.subjects import Subject, Subjects, checked

MOST_FOR_WRK = 64 << 10
LONGEST = 1 << 30
"""Bytes of a body of which one connection at a time is enough."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure.

    Args:
        subjects: starts what is measured.
        rounds: of which the median counts.
        seconds: of one round of one subject.
        full: the long measurements, too: bodies of 1 GiB, and 5,000 open streams.
        ray_python: a Python that has Ray Serve.
        say: prints a line of progress.
    """

    subjects: Subjects
    rounds: int
    seconds: float
    full: bool
    ray_python: Path | None
    say: Callable[[str], None]

    def compare(
        self, what: str, running: Sequence[Subject], measure: Callable[[Subject], Row]
    ) -> dict[str, Row]:
        """Measure subjects in turns; return each one's medians, by its name."""
        found: dict[str, list[Row]] = {each.name: [] for each in running}
        for turn in range(1, self.rounds + 1):
            for subject in running:
                try:
                    row = measure(subject)
                except OSError as error:
                    raise BenchFailed(f"{what}, {subject.name}: {error!r}") from error
                found[subject.name].append(row)
                numbers = ", ".join(f"{name} {value:,.4g}" for name, value in row.items())
                self.say(f"{what} {turn}/{self.rounds}  {subject.name}: {numbers}")
        return {name: medians(rows) for name, rows in found.items()}

    @contextmanager
    def references(self) -> Iterator[list[Subject]]:
        """Run the backend and, in front of it, nginx, HAProxy and Longshore, which comes last."""
        start = self.subjects
        with (
            start.backend() as backend,
            start.nginx(backend) as nginx,
            start.haproxy(backend) as haproxy,
            start.longshore(backend) as longshore,
        ):
            yield [self.warm(each) for each in (backend, nginx, haproxy, longshore)]

    @contextmanager
    def everybody(self) -> Iterator[list[Subject]]:
        """Run the references and the proxies in Python."""
        with self.references() as running, ExitStack() as stack:
            backend = running[0]
            for name, module in (
                ("ASGI + aiohttp", "asgi_aiohttp"),
                ("FastAPI + httpx", "fastapi_httpx"),
            ):
                peer = stack.enter_context(self.subjects.peer(name, module, backend))
                running.append(self.warm(peer))
            yield running

    def warm(self, subject: Subject) -> Subject:
        """Return the subject once it answered rightly, and for a while."""
        checked(subject)
        wrk(subject, "predict", connections=32, seconds=1)
        return subject

    def ask(self, subject: Subject, connections: int, *, versions: int = 0, heads: int = 0) -> Row:
        """Let wrk ask for small predictions, and watch the processor time that these take."""
        began, used = time.monotonic(), subject.process.cpu_seconds()
        seen = wrk(
            subject,
            "predict",
            connections=connections,
            seconds=self.seconds,
            versions=versions,
            heads=heads,
        )
        if seen.errors:
            self.say(
                f"{subject.name} failed: {seen.kinds}. Its log:\n{subject.process.last_words()}"
            )
        busy = (subject.process.cpu_seconds() - used) / (time.monotonic() - began)
        return {"requests/s": seen.rate, **times(seen), "core %": busy * 100, "errors": seen.errors}

    def move(self, subject: Subject, call: str, *, sent: int, size: int) -> Row:
        """Move long bodies, and watch the memory that they take.

        Args:
            subject: whom to ask.
            call: which of the backend's calls.
            sent: bytes of a request's body; 0 for a small one.
            size: bytes of a body, whichever way it goes.
        """
        before = subject.process.rss_mib()
        subject.process.forget_peak()
        # wrk reads in small pieces and holds a whole body, so only short ones are for it.
        if size < MOST_FOR_WRK:
            seen = wrk(subject, call, connections=32, seconds=self.seconds, body=sent)
            speed, errors = seen.rate * size / MIB, seen.errors
        else:
            count = 1 if size >= LONGEST else 4
            speed = transfer(subject, call, send=sent, connections=count, seconds=self.seconds)
            errors = 0
        growth = subject.process.peak_mib() - before
        return {"MiB/s": speed, "grew MiB": max(0.0, growth), "errors": errors}


def times(seen: Outcome) -> dict[str, float]:
    """Return the usual columns of a client's times."""
    return {"p50 ms": seen.p50, "p99 ms": seen.p99}
