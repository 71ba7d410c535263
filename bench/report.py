"""What came out: tables for the terminal and the page, pictures, and JSON."""

import dataclasses
import html
import json
import math
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.processes import Cores, need

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
REFERENCE = "nginx"

Row = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """One table of numbers."""

    name: str
    title: str
    rows: Mapping[str, Row]
    """By subject: a number for each column; NaN where there is none."""
    compared: str = ""
    """The column that is given as a ratio, too."""
    reference: str = REFERENCE
    """The row that has the ratio 1."""
    note: str = ""


def medians(rounds: Sequence[Row]) -> Row:
    """Return the median of each number over the rounds.

    Errors are added up. Of memory the first growth is the whole one, so the largest counts.
    """
    join: dict[str, Callable[[list[float]], float]] = {"errors": sum, "grew MiB": max}
    return {
        name: join.get(name, statistics.median)([each[name] for each in rounds])
        for name in rounds[0]
    }


def cells(result: Result) -> list[list[str]]:
    """Return the table as text, its head first."""
    columns = list(next(iter(result.rows.values()), {}))
    base = result.rows.get(result.reference, {}).get(result.compared, math.nan)
    ratio = [f"{result.compared} / {result.reference}"] if result.compared else []
    table = [["", *columns, *ratio]]
    for subject, row in result.rows.items():
        line = [subject, *(number(row[column]) for column in columns)]
        if result.compared:
            line.append(number(row[result.compared] / base if base else math.nan))
        table.append(line)
    return table


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    if math.isnan(value):
        return "-"
    if value == int(value) or abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"  # noqa: PLR2004 - the same


def text(result: Result) -> str:
    """Return the table for a terminal."""
    table = cells(result)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table
    ]
    return "\n".join([f"\n{result.title}", *lines, *([result.note] if result.note else [])])


def markdown(result: Result) -> str:
    """Return the table for the page."""
    head, *body = cells(result)
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *body)]
    note = f"\n{result.note}\n" if result.note else ""
    return "\n".join([f"### {result.title}", "", *lines, note])


def as_json(results: Sequence[Result], machine: Mapping[str, str]) -> str:
    """Return everything for other programs; numbers that are none become null."""
    tables = [dataclasses.asdict(each) for each in results]
    for table in tables:
        table["rows"] = {
            subject: {name: None if math.isnan(value) else value for name, value in row.items()}
            for subject, row in table["rows"].items()
        }
    return json.dumps({"machine": machine, "results": tables}, indent=2) + "\n"


def bars(title: str, values: Mapping[str, float]) -> str:
    """Draw horizontal bars as an SVG picture that is readable on light and dark pages."""
    shown = {name: value for name, value in values.items() if not math.isnan(value)}
    most = max(shown.values(), default=0) or 1
    height = 34 + 26 * len(shown)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {height}" role="img"',
        'font-family="system-ui, sans-serif" font-size="13" fill="#57606a">',
        f"<title>{html.escape(title)}</title>",
        f'<text x="8" y="18" font-weight="600">{html.escape(title)}</text>',
    ]
    for position, (name, value) in enumerate(shown.items()):
        y = 30 + 26 * position
        width = max(1, round(380 * value / most))
        color = "#0a7ea4" if name.startswith("Longshore") else "#9aa7b3"
        parts += [
            f'<text x="150" y="{y + 14}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="158" y="{y}" width="{width}" height="18" rx="2" fill="{color}"/>',
            f'<text x="{164 + width}" y="{y + 14}">{number(value)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


PICTURES = {
    "requests": ("requests", "requests/s", "Requests a second, 32 connections"),
    "one-connection": ("one-connection", "p50 ms", "Median latency, one connection (ms)"),
    "half-rate": ("latency", "p99 ms", "99th percentile at a steady rate (ms)"),
}
"""By result: the file's name, the column drawn, the title."""


def write_page(
    page: Path, results: Sequence[Result], machine: Mapping[str, str], command: str
) -> None:
    """Replace the generated part of the page, and draw its pictures beside it.

    A page that is not there is made of the generated part alone.
    """
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    facts = [f"- {name}: {value}" for name, value in machine.items()]
    parts = [f"Written by `{command}`.", "\n".join(facts)]
    for result in results:
        parts.append(markdown(result))
        if result.name in PICTURES:
            file, column, title = PICTURES[result.name]
            drawn = {subject: row[column] for subject, row in result.rows.items()}
            (folder / f"{file}.svg").write_text(bars(title, drawn))
            parts.append(f"![{title}]({folder.name}/{file}.svg)")
    generated = "\n\n".join([BEGIN, *parts, END])
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    before = page.read_text() if page.exists() else f"{BEGIN}{END}\n"
    page.write_text(pattern.sub(lambda _: generated, before))


def machine_facts(cores: Cores) -> dict[str, str]:
    """Return what the numbers depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    packages = ("longshore", "uvicorn", "httptools", "uvloop", "fastapi", "aiohttp", "httpx")
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).date().isoformat(),
        "cores": str(cores),
        "load at the start": f"{os.getloadavg()[0]:.2f}",
        "programs": ", ".join(
            [
                _first_line("nginx", "-v"),
                _first_line("haproxy", "-v"),
                _first_line("wrk", "-v"),
                f"Python {platform.python_version()}",
            ]
        ),
        "packages": ", ".join(f"{each} {version(each)}" for each in packages),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _first_line(program: str, option: str) -> str:
    done = subprocess.run(  # noqa: S603 - a fixed list of programs
        [need(program), option], capture_output=True, text=True, check=False
    )
    # wrk knows no way to ask for its version alone, and fails after having told it.
    said = (done.stdout + done.stderr).splitlines()[0]
    found = re.search(r"\d+(\.\d+)+", said)
    return f"{program} {found[0] if found else '?'}"
