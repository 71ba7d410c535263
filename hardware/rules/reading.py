"""Rule ``image-read``: what is not known of an image since not all of it was read."""

from longshore.core.types import HardwarePlan
from longshore.hardware.rules.known import Known, ruled


def image_read(known: Known, plan: HardwarePlan) -> HardwarePlan:
    """Warn where not all of the image was read."""
    scan = known.fact("scan")
    match scan.value if scan else None:
        case {"complete": False, "skipped": [why, *more]}:
            others = f"; and {len(more)} more reasons" if more else ""
            said = f"not all of the image was read, so that less is known of it: {why}{others}"
            return ruled(plan, "image-read", "unknown", str(why), warnings=[said])
    return plan
