"""``python -m bench.scaling``: simulate all traces, and write docs/scaling.md and its pictures."""

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from bench.router_under_test import version
from bench.scaling.simulation import Model, Run, simulate
from bench.scaling.traces import SHAPES, read
from longshore.core.types import Limits, Scaling, Version

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
SCALING = Scaling(min=1, max=40, target=8)
MODEL = Model()

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 220, 44, 30, 22


def scaled() -> Version:
    """Return the version that is simulated."""
    plain = version("simulated", "1", "/predict")
    spec = plain.spec.model_copy(update={"scaling": SCALING, "limits": Limits()})
    return plain.model_copy(update={"spec": spec})


def plot(title: str, run: Run) -> str:
    """Draw replicas over time as an SVG picture that is readable on light and dark pages."""
    lines = {
        "needed by what arrives": ("#9aa7b3", run.ideal),
        "wanted": ("#d98324", run.wanted),
        "ready": ("#0a7ea4", run.ready),
    }
    most = max(max(values) for _, values in lines.values())
    seconds = len(run.ready)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - 24) * second / seconds

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        'font-family="system-ui, sans-serif" font-size="12" fill="#57606a">',
        f"<title>{html.escape(title)}</title>",
        f'<text x="8" y="16" font-weight="600">{html.escape(title)}</text>',
    ]
    parts += [
        f'<text x="{LEFT - 6}" y="{y(value) + 4:.0f}" text-anchor="end">{value}</text>'
        for value in (0, most)
    ]
    for minute in range(0, seconds // 60 + 1, 5):
        place = f'x="{x(minute * 60):.0f}" y="{HEIGHT - 6}" text-anchor="middle"'
        parts.append(f"<text {place}>{minute} min</text>")
    for position, (name, (colour, values)) in enumerate(lines.items()):
        points = " ".join(_corners(values, x, y))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        )
        place = f'x="{WIDTH - 8 - 160 * position}" y="16" text-anchor="end"'
        parts.append(f'<text {place} fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _corners(
    values: Sequence[int], x: Callable[[float], float], y: Callable[[float], float]
) -> Iterator[str]:
    """Yield the points of a line that goes in steps."""
    before = values[0]
    yield f"{x(0):.1f},{y(before):.1f}"
    for second, value in enumerate(values):
        if value != before:
            yield f"{x(second):.1f},{y(before):.1f}"
            yield f"{x(second):.1f},{y(value):.1f}"
            before = value
    yield f"{x(len(values)):.1f},{y(before):.1f}"


def page(runs: Mapping[str, Run]) -> str:
    """Return the generated part of the page."""
    assumed = (
        f"A replica carries {SCALING.target} requests at a time, each takes {MODEL.service:g} s, "
        f"and a replica is ready {MODEL.start:g} s after it was started; from {SCALING.min} to "
        f"{SCALING.max} replicas. Beyond {Limits().concurrency} requests on one, callers get 503."
    )
    columns = "trace,ideal at most,ready at most,changes,seconds too few,refused,spent / ideal"
    lines = [BEGIN, assumed, "", f"| {columns.replace(',', ' | ')} |"]
    lines += ["| --- |" + " ---: |" * columns.count(",")]
    for name, run in runs.items():
        numbers = (max(run.ideal), max(run.ready), run.changes, run.short)
        refused = f"{run.refused / sum(read(name)):.1%}"
        lines += [f"| {' | '.join([name, *map(str, numbers), refused, f'{run.spent:.2f}'])} |"]
    lines += ["", "Spent are seconds of replicas. Too few are at least the seconds of a start."]
    for name, run in runs.items():
        lines += ["", f"![{name}: replicas over half an hour](scaling/{name}.svg)"]
        if run.why:
            at, replicas, why = run.why[0]
            lines += ["", f"First change, after {at:.0f} s, to {replicas}: {why}."]
    return "\n".join([*lines, "", END])


def main() -> None:
    """Simulate, print and write."""
    runs = {name: simulate(read(name), scaled(), MODEL) for name in SHAPES}
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name, run in runs.items():
        (folder / f"{name}.svg").write_text(plot(name, run))
        click.echo(f"{name}: {run.changes} changes, {run.short} s too few replicas")
    generated = page(runs)
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: generated, PAGE.read_text()))
    click.echo(f"Written: {PAGE}, and its pictures in {folder}")


if __name__ == "__main__":
    main()
