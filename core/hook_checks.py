"""What can be wrong with a plugin's hooks, found before pluggy ignores it or says it less well."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.core import hookspecs

_PREFIX = f"{hookspecs.PROJECT}_"
_MARK = f"{hookspecs.PROJECT}_impl"

HOOKS: Mapping[str, inspect.Signature] = {
    name: inspect.signature(function)
    for name, function in vars(hookspecs).items()
    if hasattr(function, f"{hookspecs.PROJECT}_spec")
}
"""The signature of every hook, in the order of the specification."""


@dataclass(frozen=True, slots=True)
class HookProblem:
    """Why a plugin cannot be used."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Something in a plugin that is a hook, or looks as if it should be one."""

    name: str
    function: Callable[..., object]
    options: Mapping[str, Any] | None
    """None where it is not marked."""

    @property
    def hook(self) -> str:
        return (self.options or {}).get("specname") or self.name


def hooks_of(plugin: object) -> tuple[str, ...]:
    """Return the hooks that a plugin implements, in the order of the specification."""
    names = {each.hook for each in _candidates(plugin)}
    return tuple(name for name in HOOKS if name in names)


def find_problem(plugin: object) -> HookProblem | None:
    """Return the first thing that is wrong with a plugin's hooks."""
    found = list(_candidates(plugin))
    if not found:
        return HookProblem(
            "it implements no hook",
            f"Put @longshore.hookimpl above a function that has a hook's name: {', '.join(HOOKS)}.",
        )
    return next(filter(None, map(_problem, found)), None)


def _candidates(plugin: object) -> Iterator[_Candidate]:
    for name in dir(plugin):
        # Static: looking at a plugin must not run its properties.
        static = inspect.getattr_static(plugin, name, None)
        if not callable(static) or inspect.isclass(static):
            continue
        function = getattr(plugin, name)
        options = getattr(function, _MARK, None)
        if options is not None or name.startswith(_PREFIX):
            yield _Candidate(name, function, options)


def _problem(found: _Candidate) -> HookProblem | None:
    hook, options = found.hook, found.options
    problem = None
    if hook not in HOOKS:
        near = difflib.get_close_matches(hook, HOOKS, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Hooks: {', '.join(HOOKS)}."
        problem = HookProblem(f"there is no hook {hook}", hint)
    elif options is None:
        problem = HookProblem(
            f"{hook} is not marked as a hook", "Put @longshore.hookimpl above it."
        )
    elif options.get("hookwrapper") or options.get("wrapper"):
        problem = HookProblem(
            f"{hook} is a wrapper, and each decision has one plugin behind it",
            "Write @longshore.hookimpl without wrapper=True.",
        )
    elif inspect.iscoroutinefunction(found.function) and not _may_be_async(hook):
        problem = HookProblem(f"{hook} cannot be async", "Write def instead of async def.")
    else:
        problem = _argument_problem(hook, inspect.signature(found.function))
    return problem and HookProblem(f"{problem.message}{_place(found.function)}", problem.hint)


def _argument_problem(hook: str, signature: inspect.Signature) -> HookProblem | None:
    known = HOOKS[hook].parameters
    for name, argument in signature.parameters.items():
        if name not in known:
            return HookProblem(
                f"{hook} has no argument {name!r}", f"It has: {', '.join(known) or 'none'}."
            )
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            return HookProblem(
                f"{hook} takes {name!r} by keyword only, and arguments come by position",
                "Take away the * before it.",
            )
    return None


def _may_be_async(hook: str) -> bool:
    return "Awaitable" in str(HOOKS[hook].return_annotation)


def _place(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
