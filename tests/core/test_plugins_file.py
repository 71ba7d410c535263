import os
from pathlib import Path

import pytest

from longshore.core.errors import StartRefused
from longshore.core.plugins_file import PluginEntry, PluginsFile, read_plugins_file

A_TABLE_HAS = "A [[plugin]] table has name, path, enabled, weight and settings."


def read(folder: Path, text: str) -> PluginsFile:
    path = folder / "plugins.toml"
    path.write_text(text, encoding="utf-8")
    return read_plugins_file(path)


def refusal(folder: Path, text: str) -> str:
    """Return what is said about a file that must not pass, with the hint on a line of its own."""
    with pytest.raises(StartRefused) as caught:
        read(folder, text)
    return f"{caught.value.message}\n{caught.value.hint}".replace(f"{folder}{os.sep}", "")


def test_a_file_says_how_the_platform_is_set_and_which_plugins_are_called(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        [longshore]
        port = 9000
        registries."r.example.com" = { username = "me", password = "x" }

        [[plugin]]
        path = "plugins/my_plugin.py"

        [[plugin]]
        name = "headroom"
        weight = 2
        settings = { reserve = 512 }

        [[plugin]]
        name = "engine"
        enabled = false
        """,
    )
    assert file.platform["port"] == 9000
    assert file.entries == (
        PluginEntry(name="my_plugin", path="plugins/my_plugin.py"),
        PluginEntry(name="headroom", weight=2.0, settings={"reserve": 512}),
        PluginEntry(name="engine", enabled=False),
    )


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    file = read(tmp_path, "")
    assert (file.platform, file.entries) == ({}, ())


# --- what cannot be read --------------------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StartRefused) as caught:
        read_plugins_file(tmp_path / "gone.toml")
    assert caught.value.message == f"{tmp_path}/gone.toml cannot be read: No such file or directory"
    assert caught.value.hint == "Name another file with --config."


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="cannot be read: Is a directory"):
        read_plugins_file(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "plugins.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(StartRefused, match="cannot be read: it is not UTF-8 text"):
        read_plugins_file(tmp_path / "plugins.toml")


def test_no_toml(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[longshore]\nport 9000\n") == (
        "plugins.toml is not TOML: Expected '=' after a key in a key/value pair "
        "(at line 2, column 6)\n"
        "See https://toml.io."
    )


# --- what means nothing ---------------------------------------------------------------------------

NOTHING = (
    "plugins.toml, line {line}: '{key}' means nothing here\n"
    "plugins.toml holds one [longshore] table and a [[plugin]] table per plugin."
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[longshore]\n[plugins]\na = 1", NOTHING.format(line=2, key="plugins")),
        ("\nport = 9000", NOTHING.format(line=2, key="port")),
        ("longshore = 1", "plugins.toml, line 1: longshore is no table\nWrite it as [longshore]."),
        (
            "[plugin]\nname = 'x'",
            (
                "plugins.toml, line 1: plugin is one table, and there may be many\n"
                "Write it with two brackets: [[plugin]]"
            ),
        ),
        ("plugin = [1]", f"plugins.toml, line 1: plugin number 1 is no table\n{A_TABLE_HAS}"),
        (
            "[[plugin]]\nname = 'a'\n[[plugin]]\nweight = 1.0",
            f"plugins.toml, line 3: plugin number 2: name: Field required\n{A_TABLE_HAS}",
        ),
        (
            "[[plugin]]\nname = 'a b'",
            (
                "plugins.toml, line 2: plugin 'a b': a plugin's name is 1 to 64 letters, digits, "
                f"'_', '.' and '-'\n{A_TABLE_HAS}"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\nenabled = 'no'",
            (
                "plugins.toml, line 3: plugin 'a': enabled: Input should be a valid boolean\n"
                f"{A_TABLE_HAS}"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\nweight = -1",
            (
                "plugins.toml, line 3: plugin 'a': weight: Input should be greater than or equal "
                f"to 0\n{A_TABLE_HAS}"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\nweight = nan",
            (
                "plugins.toml, line 3: plugin 'a': weight: Input should be a finite number\n"
                f"{A_TABLE_HAS}"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\n\nreserve = 5",
            (
                "plugins.toml, line 4: plugin 'a': 'reserve' means nothing here\n"
                f"{A_TABLE_HAS} If 'reserve' is one of the plugin's settings: "
                "settings = { reserve = ... }"
            ),
        ),
        (
            "[[plugin]]\nnmae = 'a'",
            (
                "plugins.toml, line 2: plugin number 1: 'nmae' means nothing here\n"
                f"{A_TABLE_HAS} If 'nmae' is one of the plugin's settings: "
                "settings = { nmae = ... }"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\nsettings = 5",
            (
                "plugins.toml, line 3: plugin 'a': settings: Input should be a valid dictionary\n"
                f"{A_TABLE_HAS}"
            ),
        ),
        (
            "[[plugin]]\nname = 'a'\n[[plugin]]\nname = 'b'\n[[plugin]]\nname = 'a'",
            (
                "plugins.toml, line 5: plugin 'a' is there twice, first on line 1\n"
                "Keep one of the two tables."
            ),
        ),
        (
            "[[plugin]]\npath = 'a.py'\n[[plugin]]\npath = 'other/a.py'",
            (
                "plugins.toml, line 3: plugin 'a' is there twice, first on line 1\n"
                "Keep one of the two tables."
            ),
        ),
    ],
    ids=range(15),
)
def test_what_means_nothing_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text) == told


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[plugin]]\nname = 'a'\nsettings.b.c = 1", 3),
        ("[[plugin]]\nname = 'a'\n\n[plugin.settings]\n[plugin.settings.b]\nc = 1", 6),
        ("plugin = [\n  { name = 'a', settings = { b = { c = 1 } } },\n]", 3),
        ("[[plugin]]\nname = 'a'\nsettings = { b = { c = [\n1,\n2,\n] } }", 6),
        ("# \r\n[[plugin]]\r\nname = 'a'\r\nsettings.b.c = 1\r\n", 4),
    ],
)
def test_a_value_is_found_on_its_line_however_it_is_written(
    tmp_path: Path, text: str, line: int
) -> None:
    path = tmp_path / "plugins.toml"
    path.write_bytes(text.encode())
    file = read_plugins_file(path)
    where = file.where_plugin(file.entries[0], "settings", "b", "c")
    assert where == f"{path}, line {line}"


def test_what_is_not_there_is_shown_by_what_is_above_it(tmp_path: Path) -> None:
    file = read(tmp_path, "\n[longshore]\nport = 1\n")
    assert file.where("longshore", "host").endswith("line 2")
    assert file.where("elsewhere") == str(file.path)
    assert file.where_plugin(PluginEntry(name="a")) == "built-in defaults"
    assert PluginsFile().where("longshore") == "built-in defaults"
