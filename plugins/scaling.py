"""As many replicas as the requests in flight fill up to their target."""

from longshore.core.hookspecs import hookimpl
from longshore.core.types import Load, ScaleWish, Version


@hookimpl(trylast=True)
def longshore_scale(version: Version, load: Load) -> ScaleWish:
    """Divide what is in flight and held by what one replica should carry, within the bounds."""
    bounds = version.spec.scaling
    demand = load.in_flight + load.held
    needed = -(-demand // bounds.target)
    replicas = min(max(needed, bounds.min, 1), bounds.max)
    why = f"{demand} requests at {bounds.target} per replica need {needed}"
    if replicas != needed:
        why += f"; the bounds are {max(bounds.min, 1)} to {bounds.max}"
    return ScaleWish(replicas=replicas, why=why)
