"""Rules ``architecture`` and ``cpu-level``: which processors an image is built for."""

from longshore.core.cpus import falls_short, level_of
from longshore.core.types import HardwarePlan
from longshore.hardware.rules.known import Known, ruled

_LEVELS = range(2, 5)
_WITH_VARIANT = 3


def architecture(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Keep to the architectures that the image is built for, and to the one that the user wishes.

    It fails where no node has one, and where the image is not built for the user's.
    """
    image, wish = known.profile.image, known.spec.architecture
    if not image.platforms:
        return ruled(
            plan,
            "architecture",
            "unknown",
            "the image does not say its platform",
            changes={"architectures": (wish,) if wish else ()},
        )
    found = (platform.split("/") for platform in image.platforms)
    built = tuple(dict.fromkeys(each[1] for each in found if each[0] == "linux" and each[1:]))
    platforms = ", ".join(image.platforms)
    if wish and wish not in built:
        return ruled(
            plan,
            "architecture",
            "fail",
            f"no node of the architecture {wish} that was asked for can run the image "
            f"{image.reference!r}: it is built for {platforms}",
            hint=f"Leave the wish for {wish} out, or build the image for it: "
            f"docker buildx build --platform linux/{wish} ...",
            changes={"architectures": (wish,)},
        )
    chosen = (wish,) if wish else built
    there = sorted({node.node.architecture for node in known.nodes})
    if known.nodes and not set(chosen) & set(there):
        return ruled(
            plan,
            "architecture",
            "fail",
            f"no node can run the image {image.reference!r}: it is "
            + (f"to run on {wish}" if wish else f"built for {platforms}")
            + f", and the nodes are {', '.join(there)}",
            hint="Build it for another platform too: docker buildx build --platform linux/"
            f"{there[0]} ...",
            changes={"architectures": chosen},
        )
    evidence = f"image: {platforms}; nodes: {', '.join(there) or 'none'}"
    if wish:
        evidence += f"; asked for: {wish}"
    return ruled(plan, "architecture", "pass", evidence, changes={"architectures": chosen})


def cpu_level(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Take a variant such as ``amd64/v3`` for a floor, and fail where all nodes are below it."""
    split = [each.split("/") for each in known.profile.image.platforms]
    levels = [_level(each) for each in split if each[:2] == ["linux", "amd64"]]
    level = min(levels, default=1)
    if level == 1:
        return plan
    wanted = f"the image is built for amd64/v{level}"
    if set(plan.architectures) - {"amd64"} and any(
        node.node.architecture in plan.architectures and node.node.architecture != "amd64"
        for node in known.nodes
    ):
        evidence = f"{wanted}, and for other architectures"
        return ruled(plan, "cpu-level", "pass", evidence, changes={"cpu_level": level})
    found = {
        node.node.name: level_of(node) for node in known.nodes if node.node.architecture == "amd64"
    }
    told = ", ".join(
        f"{name} has {f'v{has}' if has else 'an unknown one'}"
        for name, has in list(found.items())[:5]
    )
    changes = {"cpu_level": level}
    if any((has or 0) >= level for has in found.values()):
        return ruled(plan, "cpu-level", "pass", f"{wanted}; {told}", changes=changes)
    there = [each for each in known.nodes if each.node.name in found]
    if there and all(falls_short(each, level) for each in there):
        return ruled(
            plan,
            "cpu-level",
            "fail",
            f"{wanted}, and no node has that level: {told}",
            hint="Build it for all of amd64: docker buildx build --platform linux/amd64 ...",
            changes=changes,
        )
    why = f"{wanted}, and of no node it is known that it has that level"
    return ruled(plan, "cpu-level", "unknown", why, warnings=[why], changes=changes)


def _level(parts: list[str]) -> int:
    variant = parts[2] if len(parts) == _WITH_VARIANT else ""
    number = int(variant[1:]) if variant[:1] == "v" and variant[1:].isdigit() else 1
    return number if number in _LEVELS else 1
