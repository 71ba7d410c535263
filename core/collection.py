"""Which versions nobody needs any more: the rules of collection, as pure functions.

A collected version leaves its backend and frees its image; its record stays, so that it can be
brought back.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from longshore.core import traffic
from longshore.core.names import VersionKey
from longshore.core.quantities import duration
from longshore.core.types import (
    Digest,
    ImageFate,
    Load,
    Model,
    State,
    Value,
    VersionRecord,
    Wish,
)

_DAY = 86400.0


class Verdict(Value):
    """What should become of one version, and why."""

    key: VersionKey
    collect: bool
    why: str
    """One sentence."""
    last_used: datetime
    """When it was last called, woken or registered, whichever came last."""
    size_bytes: int = 0
    """Compressed size of the image that would be freed; 0 where another version goes on with it."""


class Collection(Value):
    """What a round of collection does, or would do."""

    verdicts: tuple[Verdict, ...]
    """All versions that are not collected yet, those that go first, the longest unused before."""
    without_image: tuple[VersionKey, ...] = ()
    """The versions whose images are deleted from their registries: some that go now, and earlier
    ones that have the same. Only a new push brings them back."""
    left_images: tuple[str, ...] = ()
    """Images of versions that were deleted, and which backends are asked to free."""

    @property
    def going(self) -> Sequence[Verdict]:
        """The verdicts on those that go."""
        return [each for each in self.verdicts if each.collect]


def judge(
    models: Iterable[Model],
    *,
    loads: Mapping[VersionKey, Load],
    woken: Mapping[VersionKey, datetime],
    retention: float,
    now: datetime,
    deletes: bool = False,
) -> Collection:
    """Tell which versions are to be collected.

    Args:
        models: all that is registered.
        loads: what was observed of each version.
        woken: when each was last woken.
        retention: days without a call after which a version goes; 0: none goes, but for those that
            have a retention of their own.
        now: the time of day (UTC).
        deletes: whether images of what goes are deleted from their registries, too.
    """
    models = list(models)
    by = _Judge(loads, woken, retention, now)
    verdicts = [
        by.of(model, record)
        for model in models
        for record in model.versions
        if record.wish is not Wish.COLLECT
    ]
    goes = {each.key for each in verdicts if each.collect}
    stay = set(_digests(models, but=goes))
    records = {record.version.key: record for model in models for record in model.versions}
    sized = (_sized(each, records[each.key], stay) for each in verdicts)
    lost = deletable(models, more=goes).values() if deletes else ()
    return Collection(
        verdicts=tuple(sorted(sized, key=lambda each: (not each.collect, each.last_used))),
        without_image=tuple(each.version.key for records in lost for each in records),
    )


def unused(models: Iterable[Model]) -> Mapping[Digest, Sequence[VersionRecord]]:
    """Return the images that only collected versions have, with these versions."""
    models = list(models)
    used = set(_digests(models, but=set()))
    found: dict[Digest, list[VersionRecord]] = {}
    for model in models:
        for record in model.versions:
            digest = record.version.image.digest
            if record.wish is Wish.COLLECT and digest not in used:
                found.setdefault(digest, []).append(record)
    return found


def deletable(
    models: Iterable[Model], *, more: Container[VersionKey] = ()
) -> Mapping[Digest, Sequence[VersionRecord]]:
    """Return the images that are to be deleted from their registries, with the versions concerned.

    An image is deleted only where every version that has it, in whatever model, was collected on
    the understanding that its image goes. What was collected before, and so can be brought back,
    needs it as much as one that runs.

    Args:
        models: all that is registered.
        more: versions that are about to be collected on that understanding.
    """
    needed: set[Digest] = set()
    found: dict[Digest, list[VersionRecord]] = {}
    for model in models:
        for record in model.versions:
            digest, collected = record.version.image.digest, record.collected
            if record.version.key not in more and not _lets_go(record):
                needed.add(digest)
            elif collected is None or collected.comes_back:
                found.setdefault(digest, []).append(record)
    return {digest: records for digest, records in found.items() if digest not in needed}


def is_needed(models: Iterable[Model], digest: Digest) -> bool:
    """Return whether an image must stay in its registry, for a version runs or may come back."""
    records = (record for model in models for record in model.versions)
    return any(each.version.image.digest == digest and not _lets_go(each) for each in records)


def _lets_go(record: VersionRecord) -> bool:
    """Return whether a version was collected on the understanding that its image goes."""
    if record.wish is not Wish.COLLECT or record.pinned or record.collected is None:
        return False
    return record.collected.image is not ImageFate.STAYS


def _digests(models: Iterable[Model], *, but: set[VersionKey]) -> Iterable[Digest]:
    """Yield the images that are needed, now and after some versions went."""
    for model in models:
        for record in model.versions:
            if record.wish is not Wish.COLLECT and record.version.key not in but:
                yield record.version.image.digest


def _sized(verdict: Verdict, record: VersionRecord, stay: set[Digest]) -> Verdict:
    image = record.version.image
    if not verdict.collect or image.digest in stay:
        return verdict
    return verdict.model_copy(update={"size_bytes": image.size_bytes})


@dataclass(frozen=True, slots=True)
class _Judge:
    """What a verdict goes by; see ``judge``."""

    loads: Mapping[VersionKey, Load]
    woken: Mapping[VersionKey, datetime]
    retention: float
    now: datetime

    def of(self, model: Model, record: VersionRecord) -> Verdict:
        """Return the verdict on one version of a model."""
        key, own = record.version.key, record.version.spec.retention
        last_used = max(self._uses(record))
        idle = (self.now - last_used).total_seconds()
        kept = self.retention if own is None else own
        against = _against(model, record, self.loads.get(key))
        if not against and not kept:
            against = "it has no retention time"
        if not against and idle <= kept * _DAY:
            against = f"it was used {duration(idle)} ago, and is kept for {duration(kept * _DAY)}"
        why = against or (
            f"nobody called it for {duration(idle)}, and it is kept for {duration(kept * _DAY)}"
        )
        return Verdict(key=key, collect=not against, why=why, last_used=last_used)

    def _uses(self, record: VersionRecord) -> Iterator[datetime]:
        key = record.version.key
        yield record.version.created_at
        if asked := self.woken.get(key):
            yield asked
        load = self.loads.get(key, Load(key=key))
        yield from filter(None, (load.last_request_at, load.last_answer_at))


def _against(model: Model, record: VersionRecord, load: Load | None) -> str:
    """Return why a version is never collected, however long nobody called it."""
    if record.pinned:
        return "it is pinned"
    rule, number = model.traffic, record.version.key.version
    if number in traffic.versions_in(rule):
        return "the traffic rule of its model names it"
    if not any(rule.weights.values()):
        gets = "it gets the requests that name no version"
        if record is _receiver(model, unsure=traffic.Standing.FAILS):
            return gets
        if record is _receiver(model, unsure=traffic.Standing.ANSWERS):
            return f"{gets} as soon as it is ready"
    if load and (load.in_flight or load.held):
        return "requests to it are under way"
    return ""


def _receiver(model: Model, *, unsure: traffic.Standing) -> VersionRecord:
    """Return which version gets the requests that name none.

    Args:
        model: one without weights.
        unsure: how such stand that are neither ready nor at rest: routers may know more of them.
    """

    def standing(record: VersionRecord) -> traffic.Standing:
        if record.wish is Wish.COLLECT:
            return traffic.Standing.COLLECTED
        rests = record.wish is Wish.SLEEP or record.status.state is State.ASLEEP
        ready = record.status.state is State.READY
        return traffic.Standing.ANSWERS if rests or ready else unsure

    versions = {each.version.key.version: each for each in model.versions}
    return traffic.receiver(model.traffic, versions, standing)
