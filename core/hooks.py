"""Calling hooks so that every answer has a name behind it.

pluggy's own call gives answers without saying whose, and stops at the first plugin that raises.
Longshore has to explain each decision and must outlive a bad plugin, so it calls the
implementations one by one, in the order of plugins.toml.
"""

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pluggy

from longshore.core.errors import LongshoreError
from longshore.core.types import Decision

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one plugin answered."""

    plugin: str
    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """That one plugin raised instead of answering."""

    plugin: str
    hook: str
    error: Exception

    def __str__(self) -> str:
        return blame(self.plugin, self.hook, self.error)


class Named(Protocol):
    """What plugins give at the start: a backend, a contract."""

    @property
    def name(self) -> str:
        """What it is called."""


class Hooks:
    """All enabled plugins, to be asked.

    Args:
        manager: holds the plugins, registered so that pluggy's call order is that of plugins.toml.
        weights: what to multiply a plugin's node scores with; 1 where absent.
    """

    def __init__(
        self, manager: pluggy.PluginManager, weights: Mapping[str, float] | None = None
    ) -> None:
        self.manager = manager
        self._weights = dict(weights or {})
        self._given: list[Answer] = []

    def weight(self, plugin: str) -> float:
        """Return the weight of a plugin's scores."""
        return self._weights.get(plugin, 1.0)

    def blame(self, hook: str, given: Named, error: Exception, doing: str) -> str:
        """Return that something failed which a plugin gave at the start: see ``blame`` below.

        Args:
            hook: the one that gave it.
            given: what failed; what no plugin gave is called by its own name.
            error: what it raised.
            doing: what it was to do.
        """
        return blame(self.giver(given), hook, error, doing)

    def giver(self, given: Named) -> str:
        """Return which plugin gave something at the start; its own name where none did."""
        return next((each.plugin for each in self._given if each.value is given), given.name)

    def implemented(self, hook: str) -> bool:
        """Return whether any plugin implements the hook."""
        return bool(self._caller(hook).get_hookimpls())

    async def every(self, hook: str, **arguments: Any) -> tuple[list[Answer], list[Failure]]:
        """Ask all plugins; return the answers that are not None, and who failed.

        ``LongshoreError`` is an answer meant for the user and passes through, with a note of who
        raised it; any other exception is logged with the names of plugin and hook.
        """
        answers, failures = [], []
        for impl in self._in_order(hook):
            result = await self._ask(impl, hook, arguments)
            if isinstance(result, Failure):
                failures.append(result)
            elif result.value is not None:
                answers.append(result)
        return answers, failures

    async def first(self, hook: str, **arguments: Any) -> Answer | None:
        """Ask plugins in order until one answers; one that fails counts as having no answer."""
        answer, _ = await self.first_told(hook, **arguments)
        return answer

    async def first_told(self, hook: str, **arguments: Any) -> tuple[Answer | None, list[Failure]]:
        """Ask as ``first`` does; return the answer, and who failed before it."""
        failures = []
        for impl in self._in_order(hook):
            result = await self._ask(impl, hook, arguments)
            if isinstance(result, Failure):
                failures.append(result)
            elif result.value is not None:
                return result, failures
        return None, failures

    async def chain(self, hook: str, argument: str, value: Any, **arguments: Any) -> Any:
        """Let each plugin change a value that the one before it returned."""
        for impl in self._in_order(hook):
            result = await self._ask(impl, hook, {**arguments, argument: value})
            if isinstance(result, Answer) and result.value is not None:
                value = result.value
        return value

    def at_start(self, hook: str, **arguments: Any) -> list[Answer]:
        """Ask all plugins during the start, where a plugin that fails must stop it.

        Raises:
            PluginFailed: naming the plugin and the hook.
        """
        answers = []
        for impl in self._in_order(hook):
            try:
                value = impl.function(*(arguments[name] for name in impl.argnames))
            except LongshoreError as error:
                _note(impl, hook, error)
                raise
            except Exception as error:
                raise PluginFailed(impl.plugin_name, hook, error) from error
            if value is not None:
                answers.append(Answer(impl.plugin_name, value))
        self._given += answers
        return answers

    async def _ask(
        self, impl: pluggy.HookImpl, hook: str, arguments: Mapping[str, Any]
    ) -> Answer | Failure:
        try:
            value = impl.function(*(arguments[name] for name in impl.argnames))
            if inspect.isawaitable(value):
                value = await value
        except LongshoreError as error:
            _note(impl, hook, error)
            raise
        except Exception as error:
            failure = Failure(impl.plugin_name, hook, error)
            log.exception("%s", failure)
            return failure
        return Answer(impl.plugin_name, value)

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _in_order(self, hook: str) -> Iterator[pluggy.HookImpl]:
        impls = self._caller(hook).get_hookimpls()
        # pluggy keeps them in reverse call order, and turns those marked trylast round once more.
        yield from (impl for impl in reversed(impls) if not impl.trylast)
        yield from (impl for impl in impls if impl.trylast)


def blame(plugin: str, hook: str, error: Exception, doing: str = "") -> str:
    """Return that a plugin failed, for logs and people: which, in which hook, and of what.

    Args:
        plugin: its name.
        hook: the one that raised, or that gave what raised later.
        error: what it raised.
        doing: what that was to do meanwhile.
    """
    where = f"{hook} ({doing})" if doing else hook
    return f"plugin {plugin} failed in {where}: {type(error).__name__}: {error}"


def failed(failures: Iterable[Failure]) -> list[Decision]:
    """Return that plugins failed, as decisions: each reason of each plugin once."""
    told = dict.fromkeys((each.hook, each.plugin, str(each)) for each in failures)
    return [Decision(hook=hook, plugin=plugin, outcome=None, why=why) for hook, plugin, why in told]


def _note(impl: pluggy.HookImpl, hook: str, error: LongshoreError) -> None:
    # Where it comes from another plugin that this one asked, that one is to be known.
    error.raised_by = error.raised_by or f"plugin {impl.plugin_name} in {hook}"


class PluginFailed(LongshoreError):
    """A plugin raised where Longshore cannot go on without it."""

    def __init__(self, plugin: str, hook: str, error: Exception) -> None:
        super().__init__(
            blame(plugin, hook, error),
            hint=f'Mend the plugin, or disable it in plugins.toml: name = "{plugin}", '
            "enabled = false",
        )
        self.plugin = plugin
