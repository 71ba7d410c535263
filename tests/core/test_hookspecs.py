"""The plugin contract is complete: every hook says what it is for, in the same manner."""

import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import NoneType

import click
import pytest

from longshore.core import hookspecs, measures, protocols, settings, types
from longshore.core.hook_checks import HOOKS

TESTS = Path(__file__).parents[1]


def hook(name: str) -> Callable[..., object]:
    function: Callable[..., object] = getattr(hookspecs, name)
    return function


def docstring(name: str) -> str:
    return inspect.getdoc(hook(name)) or ""


def hints(name: str) -> dict[str, object]:
    """Return the types of a hook, which the specification imports for type checkers only."""
    modules = typing, types, protocols, settings, measures
    known = {name: each for module in modules for name, each in vars(module).items()}
    known["click"] = click
    return typing.get_type_hints(hook(name), globalns=known)


def test_the_contract_is_what_the_design_promises() -> None:
    assert list(HOOKS) == [
        "longshore_registry",
        "longshore_backend",
        "longshore_resolve_image",
        "longshore_delete_image",
        "longshore_profile_image",
        "longshore_profile_node",
        "longshore_plan_hardware",
        "longshore_replan_hardware",
        "longshore_measure_gpus",
        "longshore_filter_node",
        "longshore_score_node",
        "longshore_customize_workload",
        "longshore_scale",
        "longshore_expect_calls",
        "longshore_balancer",
        "longshore_contract",
        "longshore_authenticate",
        "longshore_on_event",
        "longshore_commands",
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_begins_with_one_imperative_sentence(name: str) -> None:
    first, _, rest = docstring(name).partition("\n")
    assert re.fullmatch(r"[A-Z][^.]*\.", first), "one sentence on one line"
    verb = first.split()[0].lower()
    assert not verb.endswith(("s", "ed", "ing")), f"{verb!r} gives no order"
    assert rest.startswith("\n"), "an empty line after it"


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_documents_every_argument_and_no_other(name: str) -> None:
    told = re.findall(r"^:param (\w+): \S", docstring(name), re.MULTILINE)
    assert told == list(HOOKS[name].parameters)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_gives_the_type_of_every_argument_and_of_its_answer(name: str) -> None:
    given = hints(name)
    assert set(given) == {*HOOKS[name].parameters, "return"}
    answer = given["return"]
    # Any plugin may have nothing to say.
    assert answer is NoneType or NoneType in typing.get_args(answer)


@pytest.mark.parametrize("name", HOOKS)
def test_the_words_of_a_hook_agree_with_what_it_is(name: str) -> None:
    text = " ".join(docstring(name).split())
    first_wins = vars(hook(name))["longshore_spec"]["firstresult"]
    assert first_wins == ("the first answer wins" in text)
    assert ("may be async" in text) == ("Awaitable" in str(HOOKS[name].return_annotation))


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_tried_by_a_test(name: str) -> None:
    """Look for the hook being called, implemented, imported or asked for, not merely listed."""
    used = re.compile(rf'{name}\(|"{name}"|^\s+{name},?$|import {name}\b', re.MULTILINE)
    files = [each for each in TESTS.rglob("test_*.py") if each != Path(__file__)]
    assert any(used.search(each.read_text()) for each in files)
