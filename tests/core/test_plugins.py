"""Whatever is wrong with a plugin stops the start with one message that says how to mend it."""

import asyncio
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path

import pytest

from longshore.core.errors import StartRefused
from longshore.core.plugins import BUILT_IN, GROUP, Plugins, build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file

GOOD = """
from longshore import hookimpl

@hookimpl
def longshore_score_node(node):
    return 50
"""
WITH_SETTINGS = """
from pydantic import BaseModel, Field
from longshore import hookimpl

class Plugin:
    class Settings(BaseModel):
        reserve: int = Field(gt=0)
        label: str = ""

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def longshore_score_node(self, node):
        return self.settings.reserve
"""


class Machine:
    """A folder with a plugins.toml, and distributions that are installed there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        self.site.mkdir()

    def install(
        self, name: str, code: str, *, value: str = "", by: str = "", version: str = "1.0"
    ) -> None:
        """Install a distribution that brings one plugin in one module."""
        by = by or f"longshore-{name}"
        module = by.replace("-", "_")
        (self.site / f"{module}.py").write_text(code)
        info = self.site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {by}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value or module}\n")

    def write(self, name: str, code: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(code))
        return path

    def start(self, text: str, always: Sequence[str] = ()) -> Plugins:
        """Load a plugins.toml, without the built-in plugins."""
        path = self.write("plugins.toml", text)
        without = [f'[[plugin]]\nname = "{name}"\nenabled = false\n' for name in BUILT_IN]
        path.write_text(path.read_text() + "\n" + "".join(without))
        return build_plugins(read_plugins_file(path), always=always, installed=self.installed())

    def installed(self) -> list[EntryPoint]:
        found = distributions(path=[str(self.site)])
        return [point for each in found for point in each.entry_points.select(group=GROUP)]

    def refusal(self, text: str, always: Sequence[str] = ()) -> str:
        """Return what a start says that must fail, with the hint on a line of its own."""
        with pytest.raises(StartRefused) as caught:
            self.start(text, always)
        told = f"{caught.value.message}\n{caught.value.hint}"
        return told.replace(f"{self.folder}{os.sep}", "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    monkeypatch.syspath_prepend(str(machine.site))
    yield machine
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def scores(plugins: Plugins) -> list[tuple[str, object]]:
    asked = dict.fromkeys(("version", "plan", "node"))
    answers, failures = asyncio.run(plugins.hooks.every("longshore_score_node", **asked))
    assert not failures
    return [(answer.plugin, answer.value) for answer in answers]


# --- what works -----------------------------------------------------------------------------------


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


# --- what is not there ----------------------------------------------------------------------------


def test_an_unknown_plugin(machine: Machine) -> None:
    machine.install("headroom", GOOD)
    machine.install("other", GOOD, by="acme-plugins", version="3.1")
    assert machine.refusal('[longshore]\n\n[[plugin]]\nname = "headrom"\n') == (
        "plugins.toml, line 4: plugin 'headrom' is not installed. Did you mean 'headroom'? "
        "Installed: headroom (longshore-headroom 1.0), other (acme-plugins 3.1)\n"
        "Install the distribution that brings it (pip install ...), give its file "
        '(path = "my_plugin.py"), or take the table away.'
    )


def test_an_unknown_plugin_where_nothing_is_installed(machine: Machine) -> None:
    told = machine.refusal('[[plugin]]\nname = "headroom"\n')
    assert told.startswith(
        "plugins.toml, line 2: plugin 'headroom' is not installed. Installed: none\n"
    )


def test_a_missing_built_in_plugin_is_no_fault_of_the_file() -> None:
    with pytest.raises(StartRefused) as caught:
        build_plugins(PluginsFile(), installed=[])
    assert caught.value.message == (
        "built-in defaults: plugin 'sql_registry' is not installed. Installed: none"
    )


def test_a_plugin_that_two_distributions_bring(machine: Machine) -> None:
    machine.install("headroom", GOOD, by="longshore-headroom")
    machine.install("headroom", GOOD, by="acme-headroom")
    told = machine.refusal('[[plugin]]\nname = "headroom"\n')
    assert told.splitlines()[0] in {
        f"plugins.toml, line 2: plugin 'headroom' is installed twice, by {one} and {other}"
        for one, other in [
            ("longshore-headroom", "acme-headroom"),
            ("acme-headroom", "longshore-headroom"),
        ]
    }
    assert told.splitlines()[1] == "Uninstall one of the two distributions."


def test_the_same_plugin_under_two_names(machine: Machine) -> None:
    machine.install("good", GOOD)
    machine.install("alias", "", value="longshore_good", by="aliases")
    text = '[[plugin]]\nname = "good"\n[[plugin]]\nname = "alias"\n'
    assert machine.refusal(text) == (
        "plugins.toml, line 4: plugin 'alias' (aliases 1.0) is enabled already under another name\n"
        "Take one of the two away."
    )


def test_a_plugin_that_a_setting_needs_is_disabled(machine: Machine) -> None:
    text = '[longshore]\nport = 1\n[[plugin]]\nname = "api_keys"\nenabled = false\n'
    assert machine.refusal(text, always=["api_keys"]) == (
        "plugins.toml, line 3: plugin 'api_keys' is disabled, but a setting needs it\n"
        "Enable it, or take the setting away."
    )


# --- what cannot be imported ----------------------------------------------------------------------


def test_a_broken_import(machine: Machine) -> None:
    machine.install("broken", "x = 1\nraise RuntimeError('two\\nlines')\n")
    assert machine.refusal('[[plugin]]\nname = "broken"\n') == (
        "plugins.toml, line 2: plugin 'broken' cannot be imported: RuntimeError: two lines "
        "(site/longshore_broken.py, line 2). Installed: broken (longshore-broken 1.0)\n"
        "Mend it or install what it needs, or disable it: enabled = false"
    )


def test_an_import_of_a_missing_module_tells_the_whole_chain(machine: Machine) -> None:
    code = """
try:
    import surely_not_there
except ImportError as error:
    raise RuntimeError("the GPU library is needed") from error
"""
    machine.install("broken", code)
    assert machine.refusal('[[plugin]]\nname = "broken"\n').splitlines()[0] == (
        "plugins.toml, line 2: plugin 'broken' cannot be imported: "
        "RuntimeError: the GPU library is needed (site/longshore_broken.py, line 5), from "
        "ModuleNotFoundError: No module named 'surely_not_there' "
        "(site/longshore_broken.py, line 3). Installed: broken (longshore-broken 1.0)"
    )


def test_a_missing_module_of_an_entry_point(machine: Machine) -> None:
    machine.install("broken", "", value="surely_not_there:Plugin")
    assert (
        "cannot be imported: ModuleNotFoundError: No module named 'surely_not_there'. Installed"
        in machine.refusal('[[plugin]]\nname = "broken"\n')
    )


def test_a_missing_name_of_an_entry_point(machine: Machine) -> None:
    machine.install("broken", "", value="longshore_broken:Plugin")
    assert (
        "AttributeError: module 'longshore_broken' has no attribute 'Plugin'. Installed"
        in machine.refusal('[[plugin]]\nname = "broken"\n')
    )


def test_a_syntax_error(machine: Machine) -> None:
    machine.write("mine.py", "def (:\n")
    assert machine.refusal('[[plugin]]\npath = "mine.py"\n').startswith(
        "plugins.toml, line 1: plugin 'mine' cannot be imported: "
        "SyntaxError: invalid syntax (mine.py, line 1). Installed: none\n"
    )


def test_a_plugin_that_ends_the_process(machine: Machine) -> None:
    machine.write("mine.py", "import sys\nsys.exit('no GPU here')\n")
    assert "SystemExit: no GPU here (mine.py, line 2)" in machine.refusal(
        '[[plugin]]\npath = "mine.py"\n'
    )


def test_a_missing_file(machine: Machine) -> None:
    assert machine.refusal('[[plugin]]\nname = "mine"\npath = "gone.py"\n') == (
        "plugins.toml, line 2: plugin 'mine' cannot be imported: "
        "FileNotFoundError: [Errno 2] No such file or directory: 'gone.py'. Installed: none\n"
        "Mend it or install what it needs, or disable it: enabled = false"
    )


def test_a_file_that_is_no_python(machine: Machine) -> None:
    machine.write("notes.txt", "hello")
    assert "ImportError: notes.txt is no Python file. Installed" in machine.refusal(
        '[[plugin]]\npath = "notes.txt"\n'
    )


def test_a_file_that_raises_names_its_line(machine: Machine) -> None:
    machine.write("mine.py", "def f():\n    return 1 / 0\n\nf()\n")
    assert machine.refusal('\n[[plugin]]\npath = "mine.py"\n').splitlines()[0] == (
        "plugins.toml, line 2: plugin 'mine' cannot be imported: "
        "ZeroDivisionError: division by zero (mine.py, line 2). Installed: none"
    )


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "line", "problem"),
    [
        ("", 1, "reserve: Field required"),
        ("settings = { reserv = 1 }", 3, "reserv: there is no such setting"),
        ("settings.reserve = 5\nsettings.lable = 'x'", 4, "lable: there is no such setting"),
        ("settings.label = 7\nsettings.reserve = 1", 3, "label: Input should be a valid string"),
        ("\n[plugin.settings]\n\nreserve = -1", 6, "reserve: Input should be greater than 0"),
    ],
    ids=["missing", "misspelt", "unknown", "wrong type", "out of range"],
)
def test_wrong_settings(machine: Machine, settings: str, line: int, problem: str) -> None:
    machine.install("headroom", WITH_SETTINGS)
    assert machine.refusal(f'[[plugin]]\nname = "headroom"\n{settings}\n') == (
        f"plugins.toml, line {line}: plugin 'headroom' (longshore-headroom 1.0): "
        f"setting {problem}\n"
        "Settings of headroom: label, reserve."
    )


def test_a_plugin_may_take_settings_that_it_did_not_declare(machine: Machine) -> None:
    code = WITH_SETTINGS.replace(
        "        reserve:", "        model_config = {'extra': 'allow'}\n        reserve:"
    )
    machine.install("headroom", code)
    machine.start('[[plugin]]\nname = "headroom"\nsettings = { reserve = 1, more = 2 }\n')


def test_a_refused_setting_is_not_repeated(machine: Machine) -> None:
    # It may be a password.
    machine.install("headroom", WITH_SETTINGS)
    with pytest.raises(StartRefused) as caught:
        machine.start('[[plugin]]\nname = "headroom"\nsettings = { reserve = "swordfish" }\n')
    assert caught.value.__cause__ is None
    assert "swordfish" not in caught.value.message


@pytest.mark.parametrize("code", [GOOD, "class Plugin:\n    pass\n"], ids=["module", "class"])
def test_settings_for_a_plugin_that_has_none(machine: Machine, code: str) -> None:
    machine.install("good", code)
    text = '[[plugin]]\nname = "good"\n\n[plugin.settings]\nreserve = 1\n'
    assert machine.refusal(text) == (
        "plugins.toml, line 5: plugin 'good' (longshore-good 1.0) has no settings, "
        "so 'reserve' means nothing\n"
        "Take it away."
    )


def test_settings_that_are_no_model(machine: Machine) -> None:
    machine.install("odd", "class Plugin:\n    Settings = {'a': 1}\n")
    assert machine.refusal('[[plugin]]\nname = "odd"\n') == (
        "plugins.toml, line 2: plugin 'odd' (longshore-odd 1.0): "
        "its Settings is no pydantic model\n"
        "Derive it from pydantic.BaseModel, or name it otherwise."
    )


def test_a_plugin_that_cannot_be_made(machine: Machine) -> None:
    machine.write("mine.py", "class Plugin:\n    def __init__(self):\n        {}['x']\n")
    assert machine.refusal('[[plugin]]\npath = "mine.py"\n') == (
        "plugins.toml, line 1: plugin 'mine' (mine.py) cannot be set up: "
        "KeyError: 'x' (mine.py, line 3)\n"
        "Mend it, or disable it: enabled = false"
    )


def test_a_plugin_that_refuses_in_words(machine: Machine) -> None:
    code = """
    from longshore import StartRefused

    class Plugin:
        def __init__(self):
            raise StartRefused("the vault is closed", hint="Open it.")
    """
    machine.write("mine.py", code)
    assert machine.refusal('[[plugin]]\npath = "mine.py"\n') == (
        "plugins.toml, line 1: plugin 'mine' (mine.py): the vault is closed\nOpen it."
    )


# --- hooks ----------------------------------------------------------------------------------------

HOOKS = (
    "longshore_registry, longshore_backend, longshore_resolve_image, longshore_delete_image, "
    "longshore_profile_image, "
    "longshore_profile_node, longshore_plan_hardware, longshore_replan_hardware, "
    "longshore_measure_gpus, longshore_filter_node, longshore_score_node, "
    "longshore_customize_workload, longshore_scale, longshore_expect_calls, "
    "longshore_balancer, longshore_contract, "
    "longshore_authenticate, longshore_on_event, longshore_commands"
)
WRAPPER = "a wrapper, and each decision has one plugin behind it"
BY_KEYWORD = "by keyword only, and arguments come by position"


@pytest.mark.parametrize(
    ("code", "problem", "hint"),
    [
        (
            "@hookimpl\ndef longshore_scale_it(load): ...",
            "there is no hook longshore_scale_it (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "@hookimpl\ndef on_full_moon(): ...",
            "there is no hook on_full_moon (mine.py, line 2)",
            f"Hooks: {HOOKS}.",
        ),
        (
            "@hookimpl(specname='longshore_skale')\ndef scale(load): ...",
            "there is no hook longshore_skale (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "def longshore_skale(load): ...",
            "there is no hook longshore_skale (mine.py, line 2)",
            "Did you mean longshore_scale?",
        ),
        (
            "@hookimpl\ndef longshore_scale(version, replica): ...",
            "longshore_scale has no argument 'replica' (mine.py, line 2)",
            "It has: version, load, replicas.",
        ),
        (
            "@hookimpl\ndef longshore_contract(image): ...",
            "longshore_contract has no argument 'image' (mine.py, line 2)",
            "It has: none.",
        ),
        (
            "@hookimpl\ndef longshore_scale(**arguments): ...",
            "longshore_scale has no argument 'arguments' (mine.py, line 2)",
            "It has: version, load, replicas.",
        ),
        (
            "@hookimpl\ndef longshore_scale(version, *, load): ...",
            f"longshore_scale takes 'load' {BY_KEYWORD} (mine.py, line 2)",
            "Take away the * before it.",
        ),
        (
            "def longshore_scale(version): ...",
            "longshore_scale is not marked as a hook (mine.py, line 2)",
            "Put @longshore.hookimpl above it.",
        ),
        (
            "class Plugin:\n    def longshore_scale(self, version): ...",
            "longshore_scale is not marked as a hook (mine.py, line 3)",
            "Put @longshore.hookimpl above it.",
        ),
        (
            "@hookimpl(wrapper=True)\ndef longshore_scale(version): yield",
            f"longshore_scale is {WRAPPER} (mine.py, line 2)",
            "Write @longshore.hookimpl without wrapper=True.",
        ),
        (
            "@hookimpl(hookwrapper=True)\ndef longshore_scale(version): yield",
            f"longshore_scale is {WRAPPER} (mine.py, line 2)",
            "Write @longshore.hookimpl without wrapper=True.",
        ),
        (
            "@hookimpl\nasync def longshore_registry(settings): ...",
            "longshore_registry cannot be async (mine.py, line 2)",
            "Write def instead of async def.",
        ),
        (
            "import os",
            "it implements no hook",
            f"Put @longshore.hookimpl above a function that has a hook's name: {HOOKS}.",
        ),
    ],
)
def test_wrong_hooks(machine: Machine, code: str, problem: str, hint: str) -> None:
    machine.write("mine.py", f"from longshore import hookimpl\n{code}\n")
    told = machine.refusal('[[plugin]]\nname = "mine"\npath = "mine.py"\n')
    assert told == f"plugins.toml, line 2: plugin 'mine' (mine.py): {problem}\n{hint}"


def test_async_hooks_methods_of_all_kinds_and_fewer_arguments_are_fine(machine: Machine) -> None:
    code = """
    from longshore import hookimpl

    class Plugin:
        @hookimpl
        async def longshore_on_event(self, event): ...

        @staticmethod
        @hookimpl
        def longshore_score_node(node): return 1

        @hookimpl(specname="longshore_scale")
        def scale(self, version): ...

        @property
        def longshore_trap(self): raise RuntimeError("looked at")
    """
    machine.write("mine.py", code)
    plugins = machine.start('[[plugin]]\npath = "mine.py"\n')
    assert plugins.loaded[0].hooks == (
        "longshore_score_node", "longshore_scale", "longshore_on_event"
    )  # fmt: skip
    assert scores(plugins) == [("mine", 1)]


def test_the_first_of_several_wrong_plugins_is_told(machine: Machine) -> None:
    text = '[[plugin]]\nname = "one"\n[[plugin]]\nname = "two"\n'
    assert "line 2: plugin 'one'" in machine.refusal(text)
