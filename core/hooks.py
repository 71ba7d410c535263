"""Calling hooks so that every answer has a name behind it.

pluggy's own call gives answers without saying whose, and stops at the first plugin that raises.
Longshore has to explain each decision and must outlive a bad plugin, so it calls the
implementations one by one, in the order of plugins.toml.
"""

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    error: Exception

    def __str__(self) -> str:
        return f"plugin {self.plugin} failed: {type(self.error).__name__}: {self.error}"


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

    def weight(self, plugin: str) -> float:
        """Return the weight of a plugin's scores."""
        return self._weights.get(plugin, 1.0)

    def implemented(self, hook: str) -> bool:
        """Return whether any plugin implements the hook."""
        return bool(self._caller(hook).get_hookimpls())

    async def every(self, hook: str, **arguments: Any) -> tuple[list[Answer], list[Failure]]:
        """Ask all plugins; return the answers that are not None, and who failed.

        ``LongshoreError`` is an answer meant for the user and passes through; any other exception
        is logged with the plugin's name.
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
            PluginFailed: naming the plugin.
        """
        answers = []
        for impl in self._in_order(hook):
            try:
                value = impl.function(*(arguments[name] for name in impl.argnames))
            except LongshoreError:
                raise
            except Exception as error:
                raise PluginFailed(impl.plugin_name, hook, error) from error
            if value is not None:
                answers.append(Answer(impl.plugin_name, value))
        return answers

    async def _ask(
        self, impl: pluggy.HookImpl, hook: str, arguments: Mapping[str, Any]
    ) -> Answer | Failure:
        try:
            value = impl.function(*(arguments[name] for name in impl.argnames))
            if inspect.isawaitable(value):
                value = await value
        except LongshoreError:
            raise
        except Exception as error:
            log.exception("plugin %s raised in %s", impl.plugin_name, hook)
            return Failure(impl.plugin_name, error)
        return Answer(impl.plugin_name, value)

    def _caller(self, hook: str) -> pluggy.HookCaller:
        caller: pluggy.HookCaller = getattr(self.manager.hook, hook)
        return caller

    def _in_order(self, hook: str) -> Iterator[pluggy.HookImpl]:
        impls = self._caller(hook).get_hookimpls()
        # pluggy keeps them in reverse call order, and turns those marked trylast round once more.
        yield from (impl for impl in reversed(impls) if not impl.trylast)
        yield from (impl for impl in impls if impl.trylast)


def failed(hook: str, failures: Iterable[Failure]) -> list[Decision]:
    """Return that plugins failed, as decisions: each reason of each plugin once."""
    told = dict.fromkeys((each.plugin, str(each)) for each in failures)
    return [Decision(hook=hook, plugin=plugin, outcome=None, why=why) for plugin, why in told]


class PluginFailed(LongshoreError):
    """A plugin raised where Longshore cannot go on without it."""

    def __init__(self, plugin: str, hook: str, error: Exception) -> None:
        super().__init__(
            f"plugin {plugin} failed in {hook}: {type(error).__name__}: {error}",
            hint=f'Mend the plugin, or disable it in plugins.toml: name = "{plugin}", '
            "enabled = false",
        )
        self.plugin = plugin
