"""A plugin that is missing, there twice or disabled, yet needed, stops the start and says so."""

import pytest
from parts.plugin_machine import GOOD, Machine

from longshore.core.errors import StartRefused
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import PluginsFile


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


def test_the_first_of_several_wrong_plugins_is_told(machine: Machine) -> None:
    text = '[[plugin]]\nname = "one"\n[[plugin]]\nname = "two"\n'
    assert "line 2: plugin 'one'" in machine.refusal(text)
