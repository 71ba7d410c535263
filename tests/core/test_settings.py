import os
from pathlib import Path
from typing import Any

import pytest

from longshore.core.errors import StartRefused
from longshore.core.plugins_file import PluginsFile, read_plugins_file
from longshore.core.settings import Settings, is_loopback, read_settings

KNOWN = f"Settings: {', '.join(sorted(Settings.model_fields))}."


def file(folder: Path, text: str) -> PluginsFile:
    path = folder / "plugins.toml"
    path.write_text(text)
    return read_plugins_file(path)


def variables(**environment: str) -> Settings:
    return read_settings(PluginsFile(), environment, {})


def refusal(
    file: PluginsFile | None = None,
    environment: dict[str, str] | None = None,
    options: dict[str, Any] | None = None,
) -> str:
    with pytest.raises(StartRefused) as caught:
        read_settings(file or PluginsFile(), environment or {}, options or {})
    told = f"{caught.value.message}\n{caught.value.hint}"
    return told.replace(f"{file.path.parent}{os.sep}", "") if file and file.path else told


def test_a_later_source_wins_field_by_field(tmp_path: Path) -> None:
    settings = read_settings(
        file(tmp_path, '[longshore]\nhost = "10.0.0.1"\nport = 1\ninterval = 9\n'),
        {"LONGSHORE_PORT": "2", "LONGSHORE_INTERVAL": "8", "HOME": "/root"},
        {"interval": 7.0, "host": None},
    )
    assert (settings.host, settings.port, settings.interval) == ("10.0.0.1", 2, 7)


def test_without_any_source_there_are_defaults_on_loopback() -> None:
    settings = variables()
    assert (settings.host, settings.port, settings.backend) == ("127.0.0.1", 8000, "engine")
    assert settings.on_loopback
    assert settings.database_url == f"sqlite:///{Path.cwd()}/.longshore/longshore.sqlite"


def test_variables_hold_lists_tables_and_secrets() -> None:
    settings = variables(
        LONGSHORE_INSECURE="true",
        LONGSHORE_INSECURE_REGISTRIES="a:5000, b:5000,",
        LONGSHORE_REGISTRIES='{"r.example.com": {"username": "me", "password": "x"}}',
        LONGSHORE_DATABASE="postgresql://me:x@db/longshore",
    )
    assert settings.insecure
    assert settings.insecure_registries == ("a:5000", "b:5000")
    assert settings.registries["r.example.com"].password.get_secret_value() == "x"
    assert settings.database_url == "postgresql://me:x@db/longshore"
    assert variables(LONGSHORE_INSECURE_REGISTRIES='["a:1"]').insecure_registries == ("a:1",)


def test_empty_variables_and_the_clients_own_do_not_count() -> None:
    assert variables(LONGSHORE_API_KEY="", LONGSHORE_URL="http://elsewhere") == Settings()


def test_secrets_are_not_shown() -> None:
    settings = variables(
        LONGSHORE_API_KEY="swordfish",
        LONGSHORE_DATABASE="postgresql://me:swordfish@db/x",
        LONGSHORE_REGISTRIES='{"r": {"username": "me", "password": "swordfish"}}',
    )
    assert "swordfish" not in f"{settings!r} {settings} {settings.model_dump_json()}"


# --- what is wrong is told with its source --------------------------------------------------------


def test_an_unknown_setting_in_the_file(tmp_path: Path) -> None:
    assert refusal(file(tmp_path, "[longshore]\n\nprot = 9000\n")) == (
        f"plugins.toml, line 3: prot: there is no such setting\n{KNOWN}"
    )


def test_a_wrong_type_in_the_file(tmp_path: Path) -> None:
    text = '[longshore]\nregistries."r:1" = { username = "me" }\n'
    assert refusal(file(tmp_path, text)) == (
        f"plugins.toml, line 2: registries.r:1.password: Field required\n{KNOWN}"
    )


def test_a_wrong_variable() -> None:
    assert refusal(environment={"LONGSHORE_PORT": "99999"}) == (
        f"LONGSHORE_PORT: Input should be less than or equal to 65535\n{KNOWN}"
    )


def test_an_unknown_variable() -> None:
    told = refusal(environment={"LONGSHORE_PROT": "1"})
    assert told.startswith(
        "LONGSHORE_PROT is no setting of Longshore\n"
        "There are: LONGSHORE_ADVERTISE, LONGSHORE_ANSWER_TIMEOUT, "
    )


def test_a_variable_that_is_no_json() -> None:
    assert refusal(environment={"LONGSHORE_REGISTRIES": "{"}).startswith(
        "LONGSHORE_REGISTRIES is no JSON: Expecting property name"
    )


def test_a_wrong_option() -> None:
    assert refusal(options={"log_level": "loud"}).startswith("--log-level: ")


def test_what_was_written_is_not_repeated(tmp_path: Path) -> None:
    text = '[longshore]\nport = "swordfish"\n'
    with pytest.raises(StartRefused) as caught:
        read_settings(file(tmp_path, text), {}, {})
    assert "swordfish" not in caught.value.message
    assert caught.value.__cause__ is None


# --- loopback -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"), [("workers", "0"), ("workers", "65"), ("workers", "many"), ("grace", "-1")]
)
def test_numbers_that_cannot_be_are_refused_by_name(name: str, value: str) -> None:
    assert f"LONGSHORE_{name.upper()}: " in refusal(None, {f"LONGSHORE_{name.upper()}": value})
    assert f"--{name}: " in refusal(None, {}, {name: value})


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
)
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.1", "::", "10.0.0.1", "example.com", "127.example.com", "127.0.0.1.example.com", ""],
)
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)
