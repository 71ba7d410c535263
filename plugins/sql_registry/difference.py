"""What two versions of the same number differ in, for somebody who meant them to be one."""

from collections.abc import Sequence

from pydantic import JsonValue

from longshore.core.errors import Conflict
from longshore.core.types import Version, VersionSpec

_SHOWN = 10


def conflict(stored: Version, new: Version, taken: Sequence[str]) -> Conflict:
    """Return the error that says what differs and which number is free.

    Args:
        stored: what is registered.
        new: what somebody wants to register under the same number.
        taken: all version numbers of the model.
    """
    differences = []
    if stored.image.pinned != new.image.pinned:
        differences.append(f"its image is {stored.image.pinned}, not {new.image.pinned}")
    settings = changed_settings(stored.spec, new.spec)
    if settings:
        more = f" and {len(settings) - _SHOWN} more" if len(settings) > _SHOWN else ""
        differences.append(f"settings differ: {', '.join(settings[:_SHOWN])}{more}")
    free = _free_number(taken)
    another = f"a new number, such as {free}" if free else "a new number"
    return Conflict(
        f"{new.key} is already registered with other content: {'; '.join(differences)}",
        hint=f"A version never changes. Register this one under {another}.",
    )


def changed_settings(old: VersionSpec, new: VersionSpec) -> list[str]:
    """Return the dotted names of settings that differ; not their values, env holds secrets."""
    before, after = (_flat(spec.model_dump(mode="json", exclude={"image"})) for spec in (old, new))
    return sorted(name for name in before | after if before.get(name, ...) != after.get(name, ...))


def _flat(value: JsonValue, path: str = "") -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, JsonValue] = {}
    for name, each in value.items():
        flat |= _flat(each, f"{path}.{name}" if path else name)
    return flat


def _free_number(taken: Sequence[str]) -> str | None:
    """Return the number after the largest, where versions are numbered at all."""
    numbers = [int(version) for version in taken if version.isdecimal()]
    return str(max(numbers) + 1) if numbers else None
