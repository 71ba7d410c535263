from collections.abc import Mapping

import pluggy

from longshore.core import hookspecs
from longshore.core.hooks import Hooks
from longshore.core.hookspecs import hookimpl
from longshore.core.machine import this_node
from longshore.core.nodes import profile_node
from longshore.core.types import Confidence, Evidence


class Teller:
    def __init__(self, facts: Mapping[str, Evidence]) -> None:
        self._facts = facts

    @hookimpl
    def longshore_profile_node(self) -> Mapping[str, Evidence]:
        return self._facts


class Broken:
    @hookimpl
    def longshore_profile_node(self) -> None:
        raise ValueError("no")


def hooks(*plugins: object) -> Hooks:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for number, plugin in reversed(list(enumerate(plugins))):
        manager.register(plugin, name=f"p{number}")
    return Hooks(manager)


def fact(value: int | None, sure: Confidence = Confidence.EXACT) -> Evidence:
    return Evidence(value=value, source="test", confidence=sure)


async def test_the_first_that_knows_a_fact_wins() -> None:
    unknown = fact(None, Confidence.UNKNOWN)
    first = Teller({"a": fact(1), "b": unknown, "c": fact(None)})
    second = Teller({"a": fact(2), "b": fact(2), "c": fact(2), "d": unknown})
    third = Teller({"a": unknown, "b": fact(3), "d": unknown.model_copy(update={"source": "3"})})
    profile, failures = await profile_node(hooks(first, Broken(), second, third), this_node())
    # No limit is known, too; an unknown fact keeps the first reason.
    expected = {"a": fact(1), "b": fact(2), "c": fact(None), "d": unknown}
    assert profile.facts == expected
    assert profile.node == this_node()
    assert [each.plugin for each in failures] == ["p1"]


def test_this_machine_as_an_engine_would_tell() -> None:
    node = this_node()
    assert node.cpu_millicores >= 1000
    assert node.memory_mib > 100
    assert node.architecture not in {"", "x86_64", "aarch64"}
