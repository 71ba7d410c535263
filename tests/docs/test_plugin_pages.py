"""The plugins that docs/plugin-authors.md shows are enabled as it says, and decide."""

from pathlib import Path

import pytest
from docs.blocks import REPOSITORY, blocks

from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import read_plugins_file
from longshore.core.types import HardwarePlan, Node, NodeProfile, VersionSpec

PAGE = REPOSITORY / "docs" / "plugin-authors.md"


@pytest.mark.parametrize(
    ("index", "file", "hook", "expected"),
    [
        (0, "my_plugin.py", "longshore_filter_node", ["small has only 512 MiB"]),
        (1, "prefer_label.py", "longshore_score_node", 100.0),
    ],
)
async def test_a_plugin_of_the_page_decides(
    tmp_path: Path, index: int, file: str, hook: str, expected: object
) -> None:
    (tmp_path / file).write_text(blocks(PAGE, "python")[index].text)
    config = tmp_path / "plugins.toml"
    config.write_text(blocks(PAGE, "toml")[index].text)
    plugins = build_plugins(read_plugins_file(config))
    assert plugins.loaded[0].name == Path(file).stem
    node = Node(
        name="small",
        architecture="amd64",
        cpu_millicores=1000,
        memory_mib=512,
        labels={"fast": ""},
    )
    answers, failures = await plugins.hooks.every(
        hook, version=VersionSpec(image="x"), plan=HardwarePlan(), node=NodeProfile(node=node)
    )
    assert not failures
    assert answers[0].plugin == Path(file).stem
    assert answers[0].value == expected
