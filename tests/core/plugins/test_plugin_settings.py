"""Settings that are wrong or refused stop the start with a message that names their line."""

import pytest
from parts.plugin_machine import GOOD, WITH_SETTINGS, Machine

from longshore.core.errors import StartRefused


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
