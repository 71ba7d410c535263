"""The plugins that docs/plugin-authors.md shows are enabled as it says, and decide."""

from pathlib import Path

import examples_of
import pytest
from docs.blocks import REPOSITORY, blocks

from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import read_plugins_file
from longshore.core.types import HardwarePlan, ImageProfile, Node, NodeProfile, VersionSpec

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


@pytest.mark.parametrize(("memory", "outcome"), [("1Gi", "pass"), (None, "fail")])
async def test_a_rule_of_the_page_is_added_to_the_built_in_ones(
    tmp_path: Path, memory: str | None, outcome: str
) -> None:
    (tmp_path / "memory_limit.py").write_text(blocks(PAGE, "python")[2].text)
    config = tmp_path / "plugins.toml"
    config.write_text(blocks(PAGE, "toml")[2].text)
    hooks = build_plugins(read_plugins_file(config)).hooks
    spec = VersionSpec.model_validate({"image": "x", "resources": {"memory": memory}})
    image = ImageProfile(image=examples_of.image())
    answer = await hooks.first("longshore_plan_hardware", version=spec, image=image, nodes=())
    assert answer
    assert answer.plugin == "memory_limit"
    verdicts = {each.rule: each.outcome for each in answer.value.verdicts}
    assert verdicts["memory-limit"] == outcome
    assert "gpu-target" in verdicts
