"""A plugin that cannot be imported stops the start with a message that names the line."""

from parts.plugin_machine import Machine


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
