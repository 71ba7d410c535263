import pytest
from pydantic import SecretStr

from longshore.core.settings import Settings
from longshore.core.types import Identity
from longshore.plugins.api_keys import Plugin

KEY = "correct-horse=battery/staple"


def authenticate(authorization: str | None, key: str | None = KEY) -> Identity | None:
    headers = {} if authorization is None else {"authorization": authorization}
    settings = Settings(api_key=None if key is None else SecretStr(key))
    return Plugin().longshore_authenticate(headers, settings)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_key_is_recognised_however_the_scheme_is_written(scheme: str) -> None:
    assert authenticate(f"{scheme} {KEY}") == Identity(
        name="api-key", how="bearer key", remember=60
    )


def test_a_key_beyond_ascii_is_recognised_as_servers_hand_it_on() -> None:
    assert authenticate(f"Bearer {'schlüssel'.encode().decode('latin-1')}", "schlüssel")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Basic {KEY}",
        f"Bearer{KEY}",
        KEY,
        "Bearer \u2603",
    ],
)
def test_everything_else_is_not(authorization: str | None) -> None:
    assert authenticate(authorization) is None


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer None"])
def test_without_a_key_nobody_is_recognised(key: str | None, authorization: str) -> None:
    assert authenticate(authorization, key) is None
