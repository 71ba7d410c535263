"""What an image is and what it holds, as plugins tell; for registration, and for the report."""

from collections.abc import Callable

from pydantic import JsonValue

from longshore.core.errors import InvalidInput
from longshore.core.hooks import Hooks, failed
from longshore.core.settings import Settings
from longshore.core.types import Decision, Evidence, Image, ImageProfile, Progress

MOST_TOLD = 20
"""How many parts of one fact a decision lists; an image may hold hundreds of packages."""


async def resolve_image(
    hooks: Hooks, settings: Settings, reference: str, decisions: list[Decision]
) -> Image:
    """Find the image that a reference means now.

    Args:
        hooks: the plugins.
        settings: the platform's.
        reference: as the user wrote it.
        decisions: gets one more.

    Raises:
        InvalidInput: there is none.
        Unavailable: its registry does not answer.
    """
    answer, failures = await hooks.first_told(
        "longshore_resolve_image", reference=reference, settings=settings
    )
    if answer is None:
        why = "".join(f": {each}" for each in failures)
        raise InvalidInput(
            f"no plugin could find the image {reference!r}{why}",
            pointer="/image",
            hint="Enable a plugin that resolves images (the built-in one is called images), "
            "or see Longshore's log for why it failed.",
        )
    image: Image = answer.value
    decisions.append(
        Decision(
            hook="longshore_resolve_image",
            plugin=answer.plugin,
            outcome=image.pinned,
            inputs={"reference": reference},
            why="what the reference named at that moment; what runs is the digest",
        )
    )
    return image


def _to_nobody(_: Progress) -> None:
    """Let progress pass unseen."""


async def profile_image(
    hooks: Hooks,
    settings: Settings,
    image: Image,
    decisions: list[Decision],
    report: Callable[[Progress], None] = _to_nobody,
) -> ImageProfile:
    """Collect what plugins know of an image.

    Args:
        hooks: the plugins.
        settings: the platform's.
        image: resolved.
        decisions: gets one more for each plugin that answered, or failed.
        report: told how far it has come.
    """
    answers, failures = await hooks.every(
        "longshore_profile_image", image=image, settings=settings, report=report
    )
    facts: dict[str, Evidence] = {}
    for answer in answers:
        facts = {**answer.value, **facts}
        decisions.append(
            Decision(
                hook="longshore_profile_image",
                plugin=answer.plugin,
                outcome={
                    name: _shortened(fact.model_dump()["value"])
                    for name, fact in answer.value.items()
                },
                why="; ".join(f"{name}: {fact.source}" for name, fact in answer.value.items()),
            )
        )
    decisions += failed(failures)
    return ImageProfile(image=image, facts=facts)


def _shortened(value: JsonValue) -> JsonValue:
    if not isinstance(value, list) or len(value) <= MOST_TOLD:
        return value
    return [*value[:MOST_TOLD], f"and {len(value) - MOST_TOLD} more"]
