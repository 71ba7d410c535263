"""What became of each request in a run, and the table that tells of it."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parts.steady_load import Answer, Load

REFUSALS = frozenset({"not-ready", "waking", "busy", "unreachable"})
"""The problems whose 503 says that nothing of the request was sent, and why."""


@dataclass(frozen=True)
class Kill:
    """A replica that was killed; a pod may be so again and again."""

    replica: str
    began: float
    """When, on the monotonic clock: not before this,"""
    over: float
    """and not after this."""

    def explains(self, answer: Answer) -> bool:
        """Return whether a request that the replica failed was under way then."""
        under_way = answer.at < self.over and self.began < answer.ended
        return answer.replica == self.replica and under_way


@dataclass(frozen=True)
class Verdict:
    """The count of a run."""

    sent: int
    well: int
    cut_off: int
    """Whose own replica was killed meanwhile, and who were told so by a 502."""
    refused: int
    """Who heard by one of the 503s that tell why they cannot be answered; nothing of them was
    sent."""
    refusals: Sequence[Answer]
    lost: Sequence[Answer]
    """All others: no answer, or one that nothing explains."""
    doubled: Sequence[str]
    wrong: Sequence[Answer]

    def told(self) -> str:
        """Return it for people; of what should not be, each kind with how often and when first."""
        counts = (
            f"{self.sent} sent, {self.well} well, {self.cut_off} cut off, {self.refused} refused, "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.wrong)} wrong"
        )
        lines = [counts]
        kinds: dict[str, list[float]] = {}
        for what, answers in (("lost", self.lost), ("refused", self.refusals)):
            for each in answers:
                kinds.setdefault(f"{what}: {each.said}", []).append(each.at)
        lines += [f"{len(when)} from {min(when):.2f} on {said}" for said, when in kinds.items()]
        return "\n".join(lines)


def judge(load: Load, kills: Sequence[Kill]) -> Verdict:
    """Count what became of the requests.

    Args:
        load: all of them.
        kills: all replicas that were killed.
    """
    kinds: dict[str, list[Answer]] = {}
    for each in load.answers:
        kinds.setdefault(_kind(each, kills), []).append(each)
    untold = set(load.untold)
    wrong = [*kinds.get("wrong", []), *(each for each in load.answers if each.body in untold)]
    return Verdict(
        sent=len(load.answers),
        well=len(kinds.get("well", [])),
        cut_off=len(kinds.get("cut off", [])),
        refused=len(kinds.get("refused", [])),
        refusals=kinds.get("refused", []),
        lost=kinds.get("lost", []),
        doubled=load.doubled,
        wrong=wrong,
    )


def _kind(answer: Answer, kills: Iterable[Kill]) -> str:
    if answer.outcome in {"well", "wrong"}:
        return answer.outcome
    told = (answer.status, answer.problem)
    if told == (502, "replica-failed") and any(each.explains(answer) for each in kills):
        return "cut off"
    return "refused" if answer.status == 503 and answer.problem in REFUSALS else "lost"


def write(
    page: Path, place: str, verdict: Verdict, counts: Mapping[str, int], run: Mapping[str, str]
) -> None:
    """Replace the part of the page that tells of a place."""
    begin, end = f"<!-- chaos on {place}: begin -->", f"<!-- chaos on {place}: end -->"
    done = Counter(counts)
    rows = {
        "requests sent": verdict.sent,
        "answered rightly, once": verdict.well,
        "cut off by the kill of their own replica, and told so (502)": verdict.cut_off,
        "refused with the reason (503)": verdict.refused,
        "**lost**": len(verdict.lost),
        "**doubled**": len(verdict.doubled),
        "**wrong**": len(verdict.wrong),
    }
    lines = [
        *(f"- {name}: {value}" for name, value in run.items()),
        "",
        "| what became of them | requests |",
        "| --- | ---: |",
        *(f"| {name} | {value:,} |" for name, value in rows.items()),
        "",
        "| disorder | times |",
        "| --- | ---: |",
        *(f"| {name.replace('_', ' ')} | {count} |" for name, count in sorted(done.items())),
    ]
    generated = "\n".join([begin, *lines, end])
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: generated, page.read_text()))
