"""docs/http.md tells every limit with its default, and every difference from nginx."""

import re

from docs.blocks import REPOSITORY
from parts.corpus import DIFFERENCES

from longshore.core.settings import Settings
from longshore.router.edge import EdgeLimits

PAGE = (REPOSITORY / "docs" / "http.md").read_text()


def test_every_limit_and_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \| \w+ \|", PAGE, re.MULTILINE))
    limits = {*EdgeLimits.__dataclass_fields__, "max_body"}
    limits |= {name for name in Settings.model_fields if name.startswith("hold_")}
    defaults = {name: float(Settings.model_fields[name].default) for name in limits}
    assert {name: float(told) for name, told in rows.items()} == defaults


def test_every_reason_to_differ_from_nginx() -> None:
    told = {line.removeprefix("- ") for line in PAGE.splitlines() if line.startswith("- ")}
    assert {why for _, why in DIFFERENCES.values()} <= told
