"""What counts as lost: all that nothing explains."""

import pytest
from chaos.verdict import Kill, judge
from parts.steady_load import Answer, Ledger, Load

KILL = Kill("a", began=10, over=11)


def failed(status: int, problem: str, *, at: float = 10.5, replica: str = "a") -> Answer:
    return Answer("x", "failed", at, "behave:1", "", status, problem, replica, ended=at + 1)


@pytest.mark.parametrize(
    ("answer", "counts_as"),
    [
        (Answer("x", "well", 0), "well"),
        (Answer("x", "wrong", 0), "wrong"),
        (Answer("x", "lost", 0), "lost"),
        (failed(502, "replica-failed"), "cut_off"),
        # Another one's, one after the kill, and one that says nothing of the replica.
        (failed(502, "replica-failed", replica="b"), "lost"),
        (failed(502, "replica-failed", at=12), "lost"),
        (failed(502, ""), "lost"),
        (failed(503, "waking"), "refused"),
        (failed(503, "not-ready"), "refused"),
        (failed(503, ""), "lost"),
        (failed(503, "unavailable"), "lost"),
        (failed(504, "timeout"), "lost"),
        (failed(500, "internal"), "lost"),
        (failed(404, "not-found"), "lost"),
    ],
)
def test_each_request_counts_as_one_thing(answer: Answer, counts_as: str) -> None:
    verdict = judge(Load(answers=[answer]), [KILL])
    counted = {
        "well": verdict.well,
        "cut_off": verdict.cut_off,
        "refused": verdict.refused,
        "lost": len(verdict.lost),
        "wrong": len(verdict.wrong),
    }
    assert counted == {**dict.fromkeys(counted, 0), counts_as: 1}


def test_what_models_got_twice_or_never_is_seen() -> None:
    answers = [Answer(body, "well", 0) for body in ("twice", "once", "never")]
    with Ledger() as ledger:
        ledger.seen.update({"twice": 2, "once": 1})
        verdict = judge(Load(ledger, answers), [])
    assert verdict.doubled == ["twice"]
    assert [each.body for each in verdict.wrong] == ["never"]
