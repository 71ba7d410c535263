import inspect
import re
from pathlib import Path

import pytest

import longshore
from longshore.core import hookspecs

REPOSITORY = Path(__file__).parents[2]
REFERENCE = (REPOSITORY / "docs" / "plugin-authors.md").read_text()
HOOKS = re.findall(r"^def (longshore_\w+)", inspect.getsource(hookspecs), re.MULTILINE)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_docs_tell_each_hook_as_it_is(hook: str) -> None:
    function = getattr(hookspecs, hook)
    arguments = ", ".join(inspect.signature(function).parameters)
    first_line = (inspect.getdoc(function) or "").splitlines()[0]
    assert f"| `{hook}({arguments})` | {first_line} |" in REFERENCE


def test_the_docs_tell_no_hook_that_is_gone() -> None:
    assert set(re.findall(r"longshore_\w+(?=\()", REFERENCE)) <= set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_used_by_a_test(hook: str) -> None:
    here = Path(__file__)
    tests = (each for each in (REPOSITORY / "tests").rglob("test_*.py") if each != here)
    assert any(hook in each.read_text() for each in tests)


def test_what_the_docs_import_is_public() -> None:
    for names in re.findall(r"^from longshore import (.+)$", REFERENCE, re.MULTILINE):
        assert {each.strip() for each in names.split(",")} <= set(longshore.__all__)
