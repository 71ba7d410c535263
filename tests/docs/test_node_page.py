from docs.blocks import REPOSITORY

from longshore.hardware.node.facts import FACTS
from longshore.hardware.node.nvml import Gpu
from longshore.hardware.node.settings import NodesSettings

PAGE = (REPOSITORY / "docs" / "hardware.md").read_text().partition("## What is read of a node")[2]
ROWS = [row.split(" | ") for row in PAGE.splitlines() if row.startswith("| `")]


def test_the_page_tells_each_fact_of_a_node() -> None:
    told = [row[0].strip("| `") for row in ROWS]
    assert told[: len(FACTS)] == list(FACTS)


def test_the_page_tells_each_field_of_a_gpu() -> None:
    told = {name.strip("| `") for row in ROWS for name in row[0].split(",")}
    assert set(Gpu.model_fields) <= told


def test_the_page_tells_each_setting_with_its_default() -> None:
    told = {row[0].strip("| `"): row[1].strip() for row in ROWS}
    for name, field in NodesSettings.model_fields.items():
        shown = "" if field.default is None else str(field.default)
        assert told[name] == shown, name
