import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from longshore.core import hookspecs
from longshore.core.errors import Refused, StartRefused
from longshore.core.hooks import Failure, Hooks, PluginFailed, failed
from longshore.core.hookspecs import hookimpl

ASKED: Mapping[str, Any] = {"version": "v", "load": "l", "replicas": 1}


def hooks(**plugins: object) -> Hooks:
    """Return plugins that are called in the order in which they are written here."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, plugin in reversed(plugins.items()):
        manager.register(plugin, name=name)
    return Hooks(manager, {"weighted": 2.5})


class Says:
    """Answers with one value, or raises it, in any of three hooks."""

    def __init__(self, value: object) -> None:
        self.value = value
        self.calls = 0

    def _say(self) -> Any:
        self.calls += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    @hookimpl
    def longshore_scale(self) -> Any:
        return self._say()

    @hookimpl
    async def longshore_on_event(self) -> Any:
        return self._say()

    @hookimpl
    def longshore_contract(self) -> Any:
        return self._say()


class SaysLast(Says):
    """The same, as a fallback."""

    @hookimpl(trylast=True)
    def longshore_scale(self) -> Any:
        return self._say()


class Adds:
    """Adds a letter to what the plugin before it returned."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    @hookimpl
    def longshore_customize_workload(self, workload: str, version: str) -> str | None:
        return workload + self.letter if version else None


# --- the first answer -----------------------------------------------------------------------------


async def test_the_first_answer_wins_and_later_plugins_are_not_asked() -> None:
    late = Says(3)
    answer = await hooks(none=Says(None), two=Says(2), late=late).first("longshore_scale", **ASKED)
    assert answer
    assert (answer.plugin, answer.value) == ("two", 2)
    assert late.calls == 0


@pytest.mark.parametrize("value", [0, "", (), False])
async def test_an_empty_answer_is_an_answer(value: object) -> None:
    answer = await hooks(empty=Says(value), late=Says(3)).first("longshore_scale", **ASKED)
    assert answer
    assert answer.plugin == "empty"


async def test_a_fallback_is_asked_last_wherever_it_stands() -> None:
    asked = hooks(fallback=SaysLast(1), second_fallback=SaysLast(2), plain=Says(3))
    answers, _ = await asked.every("longshore_scale", **ASKED)
    assert [answer.value for answer in answers] == [3, 1, 2]


async def test_no_answer_is_none() -> None:
    assert await hooks(none=Says(None)).first("longshore_scale", **ASKED) is None
    assert await hooks().first("longshore_scale", **ASKED) is None


# --- plugins that raise ---------------------------------------------------------------------------


async def test_a_plugin_that_raises_is_named_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = hooks(broken=Says(ZeroDivisionError("oh")), good=Says(2))
    answer = await asked.first("longshore_scale", **ASKED)
    assert answer
    assert answer.plugin == "good"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "plugin broken failed in longshore_scale: ZeroDivisionError: oh"
    assert record.exc_info


async def test_every_answer_and_every_failure_has_a_name() -> None:
    asked = hooks(one=Says(1), broken=Says(ZeroDivisionError("oh")), none=Says(None), two=Says(2))
    answers, failures = await asked.every("longshore_scale", **ASKED)
    assert [(answer.plugin, answer.value) for answer in answers] == [("one", 1), ("two", 2)]
    assert [str(each) for each in failures] == [
        "plugin broken failed in longshore_scale: ZeroDivisionError: oh"
    ]


async def test_async_hooks_are_awaited_and_may_raise_too() -> None:
    asked = hooks(one=Says(1), broken=Says(KeyError("x")))
    answers, failures = await asked.every("longshore_on_event", event=None)
    assert [answer.value for answer in answers] == [1]
    assert [each.plugin for each in failures] == ["broken"]


async def test_a_refusal_meant_for_the_user_passes_through() -> None:
    asked = hooks(strict=Says(Refused("not today")), good=Says(2))
    for call in (asked.first, asked.every):
        with pytest.raises(Refused, match="not today") as caught:
            await call("longshore_scale", **ASKED)
        assert caught.value.message == "not today"
        assert caught.value.traced == "not today (plugin strict in longshore_scale)"


def test_an_error_that_no_plugin_raised_is_traced_to_none() -> None:
    assert Refused("not today").traced == "not today"


def test_failures_are_decisions_each_reason_once() -> None:
    one = Failure("a", "longshore_filter_node", OSError("disk full"))
    other = Failure("a", "longshore_score_node", OSError("disk full"))
    told = [(each.hook, each.plugin, each.outcome, each.why) for each in failed([one, one, other])]
    assert told == [
        (hook, "a", None, f"plugin a failed in {hook}: OSError: disk full")
        for hook in ("longshore_filter_node", "longshore_score_node")
    ]


# --- chains ---------------------------------------------------------------------------------------


async def test_each_plugin_changes_what_the_one_before_it_returned() -> None:
    class Raises:
        @hookimpl
        def longshore_customize_workload(self) -> None:
            raise RuntimeError

    asked = hooks(a=Adds("a"), broken=Raises(), silent=Adds("x"), b=Adds("b"))
    asked.manager.unregister(name="silent")
    changed = await asked.chain("longshore_customize_workload", "workload", "w", version="v")
    assert changed == "wab"


async def test_none_in_a_chain_means_no_change() -> None:
    chain = hooks(a=Adds("a")).chain
    assert await chain("longshore_customize_workload", "workload", "w", version="") == "w"


# --- the start ------------------------------------------------------------------------------------


def test_at_the_start_all_answers_are_collected() -> None:
    answers = hooks(one=Says(1), none=Says(None), two=Says(2)).at_start("longshore_contract")
    assert [(answer.plugin, answer.value) for answer in answers] == [("one", 1), ("two", 2)]


def test_at_the_start_a_plugin_that_raises_stops_it_by_name() -> None:
    with pytest.raises(PluginFailed) as caught:
        hooks(broken=Says(OSError("disk full")), good=Says(2)).at_start("longshore_contract")
    assert caught.value.message == "plugin broken failed in longshore_contract: OSError: disk full"
    assert caught.value.hint == (
        'Mend the plugin, or disable it in plugins.toml: name = "broken", enabled = false'
    )
    assert caught.value.plugin == "broken"


def test_at_the_start_a_refusal_in_words_stays_as_it_is() -> None:
    with pytest.raises(StartRefused, match="no licence") as caught:
        hooks(strict=Says(StartRefused("no licence"))).at_start("longshore_contract")
    assert caught.value.raised_by == "plugin strict in longshore_contract"


def test_what_fails_later_is_blamed_on_the_plugin_that_gave_it() -> None:
    given, other = SimpleNamespace(name="theirs"), SimpleNamespace(name="theirs")
    asked = hooks(first=Says(SimpleNamespace(name="x")), mine=Says(given))
    asked.at_start("longshore_contract")
    assert asked.giver(given) == "mine"
    error = OSError("disk full")
    assert asked.blame("longshore_contract", given, error, "decode") == (
        "plugin mine failed in longshore_contract (decode): OSError: disk full"
    )
    assert asked.giver(other) == "theirs", "none gave it, so it stands for itself"


# --- what is known --------------------------------------------------------------------------------


def test_hooks_know_who_implements_them_and_what_scores_weigh() -> None:
    known = hooks(weighted=Says(1), other=SimpleNamespace())
    assert known.implemented("longshore_scale")
    assert not known.implemented("longshore_authenticate")
    assert (known.weight("weighted"), known.weight("other")) == (2.5, 1.0)
