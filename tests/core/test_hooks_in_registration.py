"""What each hook of a registration, and of the start, brings about: with plugins from a file."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from parts.memory_backend import MemoryBackend
from parts.routed import hooks_of

from longshore import hookimpl
from longshore.core.errors import InvalidInput, Refused, StartRefused, Unavailable
from longshore.core.hooks import PluginFailed
from longshore.core.images import resolve_image
from longshore.core.names import VersionKey
from longshore.core.plugins import BUILT_IN, Plugins, build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file
from longshore.core.registration import Registration
from longshore.core.settings import Settings
from longshore.core.types import Decision, Image, Node, Version, VersionSpec

KEY = VersionKey("iris", "1")
IMAGES = """
from longshore import hookimpl
from examples_of import image

@hookimpl
async def longshore_resolve_image(reference):
    return image()
"""


PLACING = {
    *("contracts", "hardware_plan", "fit", "architecture", "gpu_class", "numa", "image_locality"),
    "spreading",
}


class Broken:
    """A plugin that cannot find images."""

    name = "broken"

    @hookimpl
    def longshore_resolve_image(self) -> Image:
        raise OSError("disk full")


class Nodes(MemoryBackend):
    """A backend with three machines."""

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(
            Node(name=name, architecture="amd64", cpu_millicores=4000, memory_mib=memory)
            for name, memory in (("small", 1024), ("middle", 2048), ("large", 4096))
        )


def plugins(folder: Path, *code: str, weight: float = 1) -> Plugins:
    """Load plugins from files, before the built-in ones that decide about placement."""
    text = ""
    for number, each in enumerate((IMAGES, *code)):
        (folder / f"p{number}.py").write_text(f"from longshore import *\n{each}")
        text += f'[[plugin]]\npath = "p{number}.py"\nweight = {weight}\n'
    for name in set(BUILT_IN) - PLACING:
        text += f'[[plugin]]\nname = "{name}"\nenabled = false\n'
    path = folder / "plugins.toml"
    path.write_text(text)
    return build_plugins(read_plugins_file(path))


async def plan(
    folder: Path, *code: str, weight: float = 1, force: bool = False, **spec: object
) -> tuple[Version, dict[tuple[str, str], Decision]]:
    """Return a planned version, and its decisions by hook and plugin."""
    hooks = plugins(folder, *code, weight=weight).hooks
    registration = Registration(Settings(), hooks, {"engine": Nodes()})
    asked = VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec})
    version, decisions = await registration.plan(KEY, asked, force=force)
    return version, {(each.hook, each.plugin): each for each in decisions}


def names(version: Version) -> list[str]:
    return [node.name for node in version.placement.nodes]


async def test_the_built_in_plugins_plan_a_version_alone(tmp_path: Path) -> None:
    version, decisions = await plan(tmp_path, resources={"memory": "1536Mi"})
    assert names(version) == ["large", "middle"]
    assert version.serving.contract == "generic"
    assert {plugin for _, plugin in decisions} == {"p0", *PLACING} - {"image_locality"}
    fits = decisions["longshore_filter_node", "fit"]
    assert fits.outcome == "2 of 3 nodes fit"
    assert fits.why == "small: 1.5 GiB memory asked for, it has 1 GiB"
    scores = decisions["longshore_score_node", "spreading"].outcome
    assert isinstance(scores, dict)
    assert set(scores) == {"large", "middle"}


async def test_facts_of_images_are_merged_and_the_first_plugin_wins(tmp_path: Path) -> None:
    fact = """
@hookimpl
def longshore_profile_image(image):
    def fact(value):
        return Evidence(value=value, source="test", confidence=Confidence.EXACT)
    return {"both": fact("%s"), "%s": fact(1)}
"""
    sees = """
seen = []

@hookimpl
def longshore_plan_hardware(image):
    raise Refused(" ".join(f"{name}={fact.value}" for name, fact in sorted(image.facts.items())))
"""
    with pytest.raises(Refused, match="both=first one=1 two=1"):
        await plan(tmp_path, fact % ("first", "one"), fact % ("second", "two"), sees)


async def test_facts_of_nodes_reach_filters(tmp_path: Path) -> None:
    profile = """
@hookimpl
async def longshore_profile_node(node):
    slow = Evidence(value=node.memory_mib < 3000, source="test", confidence=Confidence.EXACT)
    return {"slow": slow}
"""
    avoid = """
@hookimpl
def longshore_filter_node(node):
    return ["it is slow"] if node.facts["slow"].value else []
"""
    version, decisions = await plan(tmp_path, profile, avoid)
    assert names(version) == ["large"]
    assert decisions["longshore_filter_node", "p2"].why == "small: it is slow; middle: it is slow"


@pytest.mark.parametrize(("weight", "first"), [(1, "small"), (0, "large")])
async def test_scores_are_summed_with_their_weights(
    tmp_path: Path, weight: float, first: str
) -> None:
    code = """
@hookimpl
def longshore_score_node(node):
    return 1000 if node.node.name == "small" else 0
"""
    version, decisions = await plan(tmp_path, code, weight=weight, resources={"memory": "512Mi"})
    assert names(version)[0] == first
    # At most 100 count.
    scores = decisions["longshore_score_node", "p1"].outcome
    assert scores == {"small": 100 * weight, "middle": 0, "large": 0}


async def test_a_plugin_that_raises_loses_its_say_and_no_more(tmp_path: Path) -> None:
    code = """
@hookimpl
def longshore_profile_image(image):
    raise OSError("disk full")

@hookimpl
def longshore_filter_node(node):
    raise OSError("disk full")

@hookimpl
def longshore_score_node(node):
    raise OSError("disk full")

@hookimpl
def longshore_plan_hardware(version):
    raise OSError("disk full")
"""
    version, decisions = await plan(tmp_path, code)
    assert len(names(version)) == 3
    for hook in ("profile_image", "filter_node", "plan_hardware", "score_node"):
        told = decisions[f"longshore_{hook}", "p1"]
        why = f"plugin p1 failed in longshore_{hook}: OSError: disk full"
        assert (told.outcome, told.why) == (None, why)


async def test_an_image_that_no_plugin_finds_tells_which_failed(tmp_path: Path) -> None:
    hooks = hooks_of(Broken())
    with pytest.raises(InvalidInput) as caught:
        await resolve_image(hooks, Settings(), "localhost:5001/iris:1", [])
    assert caught.value.message == (
        "no plugin could find the image 'localhost:5001/iris:1': "
        "plugin broken failed in longshore_resolve_image: OSError: disk full"
    )
    with pytest.raises(InvalidInput) as caught:
        await resolve_image(hooks_of(), Settings(), "iris:1", [])
    assert caught.value.message == "no plugin could find the image 'iris:1'"


async def test_a_contract_that_fails_to_detect_is_named(tmp_path: Path) -> None:
    code = """
class Broken:
    name = "theirs"

    def detect(self, spec, image):
        raise OSError("disk full")

@hookimpl
def longshore_contract():
    return Broken()
"""
    with pytest.raises(PluginFailed) as caught:
        await plan(tmp_path, code)
    assert caught.value.message == "plugin p1 failed in longshore_contract: OSError: disk full"


async def test_a_score_that_is_no_number_is_refused_by_name(tmp_path: Path) -> None:
    code = "@hookimpl\ndef longshore_score_node(node):\n    return 'good'\n"
    with pytest.raises(Refused) as caught:
        await plan(tmp_path, code)
    assert caught.value.message == (
        "plugin p1 scored a node in longshore_score_node with 'good', which is no number"
    )


async def test_nobody_fits_names_every_node_and_who_objected(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await plan(tmp_path, resources={"memory": "1Ti"})
    assert caught.value.message == (
        "no node fits: fit on "
        "small: 1 TiB memory asked for, it has 1 GiB; "
        "middle: 1 TiB memory asked for, it has 2 GiB; "
        "large: 1 TiB memory asked for, it has 4 GiB"
    )


async def test_what_fits_nowhere_is_planned_where_the_user_insists(tmp_path: Path) -> None:
    version, decisions = await plan(tmp_path, force=True, resources={"memory": "1Ti"})
    assert version.placement.nodes == ()
    assert version.placement.plan.memory_mib == 1 << 20
    assert decisions["longshore_filter_node", "fit"].outcome == "0 of 3 nodes fit"


async def test_a_rule_that_fails_refuses_and_gives_way_to_who_insists(tmp_path: Path) -> None:
    code = """
@hookimpl
def longshore_plan_hardware(version):
    return HardwarePlan(verdicts=(
        Verdict(rule="a", outcome="pass", evidence="fine"),
        Verdict(rule="b", outcome="fail", evidence="too hot", hint="Cool it."),
        Verdict(rule="c", outcome="fail", evidence="too loud", hint="Hush."),
    ))
"""
    with pytest.raises(Refused) as caught:
        await plan(tmp_path, code)
    assert (caught.value.message, caught.value.hint) == ("too hot; too loud", "Cool it.")
    version, _ = await plan(tmp_path, code, force=True)
    assert len(names(version)) == 3


async def test_errors_for_the_user_pass_through_hooks(tmp_path: Path) -> None:
    code = """
@hookimpl(tryfirst=True)
async def longshore_resolve_image(reference):
    raise Unavailable("the registry sleeps")
"""
    with pytest.raises(Unavailable, match="the registry sleeps"):
        await plan(tmp_path, code)


async def test_an_unknown_contract_or_backend_is_refused_with_those_there_are(
    tmp_path: Path,
) -> None:
    with pytest.raises(InvalidInput, match="there is no contract 'sagemaker'") as caught:
        await plan(tmp_path, contract="sagemaker")
    assert (caught.value.pointer, caught.value.hint) == (
        "/contract",
        "Enabled contracts: generic.",
    )
    with pytest.raises(InvalidInput, match="there is no backend 'ray'") as caught:
        await plan(tmp_path, backend="ray")
    assert (caught.value.pointer, caught.value.hint) == ("/backend", "Enabled backends: engine.")


# --- the start ------------------------------------------------------------------------------------


def test_two_contracts_of_one_name_stop_the_start(tmp_path: Path) -> None:
    code = """
class Other:
    name = "generic"

@hookimpl
def longshore_contract():
    return Other()
"""
    with pytest.raises(StartRefused) as caught:
        Registration(Settings(), plugins(tmp_path, code).hooks, {})
    assert caught.value.message == "plugins p1 and contracts both bring a contract 'generic'"


def test_the_built_in_backend_and_registry_come_unopened(tmp_path: Path) -> None:
    hooks = build_plugins(PluginsFile()).hooks
    settings = Settings(state=tmp_path / "state")
    (backend,) = hooks.at_start("longshore_backend", settings=settings)
    assert (backend.plugin, backend.value.name) == ("engine", "engine")
    (registry,) = hooks.at_start("longshore_registry", settings=settings)
    assert registry.plugin == "sql_registry"
    assert not (tmp_path / "state").exists()


def test_plugins_add_commands(tmp_path: Path) -> None:
    code = """
import click

@hookimpl
def longshore_commands(cli):
    @cli.command()
    def hello():
        click.echo("hello from a plugin")
"""
    cli = click.Group("longshore")
    plugins(tmp_path, code).hooks.at_start("longshore_commands", cli=cli)
    assert CliRunner().invoke(cli, ["hello"]).output == "hello from a plugin\n"
