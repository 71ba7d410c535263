"""Which plugins are enabled, in which order they are asked, and how they are shown."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from parts.plugin_machine import GOOD, WITH_SETTINGS, Machine, scores

from longshore.core.plugins import BUILT_IN, GROUP, build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file


def test_without_a_file_the_built_in_plugins_are_enabled_in_their_order() -> None:
    plugins = build_plugins(PluginsFile())
    assert tuple(each.name for each in plugins.loaded) == BUILT_IN
    assert {each.origin for each in plugins.loaded} == {"longshore"}
    for hook in ("longshore_registry", "longshore_backend", "longshore_scale"):
        assert plugins.hooks.implemented(hook)


def test_every_built_in_plugin_is_among_the_entry_points() -> None:
    names = {point.name for point in entry_points(group=GROUP)}
    assert {*BUILT_IN, "api_keys"} <= names


def test_the_order_of_the_file_is_the_order_of_calls(machine: Machine) -> None:
    for name in ("one", "two", "three"):
        machine.install(name, GOOD)
    text = "".join(f'[[plugin]]\nname = "{name}"\n' for name in ("two", "three", "one"))
    assert scores(machine.start(text)) == [("two", 50), ("three", 50), ("one", 50)]


@pytest.mark.parametrize("mark", ["@hookimpl(trylast=True)", "@hookimpl(tryfirst=True)"])
def test_the_order_holds_among_those_that_step_aside_or_push_ahead(
    machine: Machine, mark: str
) -> None:
    machine.install("plain", GOOD)
    for name in ("one", "two", "three"):
        machine.install(name, GOOD.replace("@hookimpl", mark))
    names = ("two", "plain", "three", "one")
    text = "".join(f'[[plugin]]\nname = "{name}"\n' for name in names)
    marked = ["two", "three", "one"]
    expected = [*marked, "plain"] if "tryfirst" in mark else ["plain", *marked]
    assert [name for name, _ in scores(machine.start(text))] == expected


def test_of_the_built_in_backends_only_the_chosen_one_is_enabled_by_itself(tmp_path: Path) -> None:
    chosen = [each.name for each in build_plugins(PluginsFile(), backend="kubernetes").loaded]
    assert chosen == ["sql_registry", "kubernetes", *BUILT_IN[2:]]
    others = [each.name for each in build_plugins(PluginsFile(), backend="moon").loaded]
    assert {"engine", "kubernetes"}.isdisjoint(others)
    path = tmp_path / "plugins.toml"
    path.write_text('[[plugin]]\nname = "kubernetes"\n')
    both = [each.name for each in build_plugins(read_plugins_file(path)).loaded]
    assert both == ["kubernetes", *BUILT_IN]


def test_plugins_of_the_file_come_before_the_built_in_ones_it_does_not_list(
    machine: Machine,
) -> None:
    machine.write("mine.py", GOOD)
    path = machine.write(
        "plugins.toml", '[[plugin]]\nname = "scaling"\n[[plugin]]\npath = "mine.py"\n'
    )
    names = [each.name for each in build_plugins(read_plugins_file(path)).loaded]
    assert names == ["scaling", "mine", *(name for name in BUILT_IN if name != "scaling")]


def test_a_file_beside_plugins_toml_is_a_plugin(machine: Machine) -> None:
    machine.write("mine.py", GOOD)
    plugins = machine.start('[[plugin]]\npath = "mine.py"\n')
    assert scores(plugins) == [("mine", 50)]
    (loaded,) = plugins.loaded
    assert (loaded.version, loaded.origin) == ("-", str(machine.folder / "mine.py"))
    assert loaded.hooks == ("longshore_score_node",)


def test_a_file_can_take_the_place_of_a_built_in_plugin(machine: Machine) -> None:
    machine.write("mine.py", GOOD)
    path = machine.write("plugins.toml", '[[plugin]]\nname = "spreading"\npath = "mine.py"\n')
    loaded = {each.name: each.origin for each in build_plugins(read_plugins_file(path)).loaded}
    assert loaded["spreading"] == str(machine.folder / "mine.py")
    assert len(loaded) == len(BUILT_IN)


def test_a_distribution_is_shown_with_its_version_weight_and_hooks(machine: Machine) -> None:
    machine.install("headroom", WITH_SETTINGS, version="2.5")
    plugins = machine.start(
        '[[plugin]]\nname = "headroom"\nweight = 2\nsettings = { reserve = 512 }\n'
    )
    (loaded,) = plugins.loaded
    assert (loaded.name, loaded.version, loaded.origin) == ("headroom", "2.5", "longshore-headroom")
    assert (loaded.weight, loaded.hooks) == (2, ("longshore_score_node",))
    assert plugins.hooks.weight("headroom") == 2
    assert plugins.hooks.weight("somebody else") == 1
    assert scores(plugins) == [("headroom", 512)]


def test_a_disabled_plugin_need_not_even_be_installed(machine: Machine) -> None:
    assert machine.start('[[plugin]]\nname = "gone"\nenabled = false\n').loaded == ()


def test_what_a_setting_needs_is_enabled_without_being_listed(machine: Machine) -> None:
    machine.install("keys", GOOD)
    assert [each.name for each in machine.start("", always=["keys"]).loaded] == ["keys"]


def test_the_same_entry_point_seen_twice_is_one(machine: Machine) -> None:
    machine.install("good", GOOD)
    path = machine.write("plugins.toml", '[[plugin]]\nname = "good"\n')
    twice = machine.installed() * 2 + list(entry_points(group=GROUP))
    assert build_plugins(read_plugins_file(path), installed=twice).loaded[0].name == "good"
