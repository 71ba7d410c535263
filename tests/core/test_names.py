import re
import shlex
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from longshore.core.names import (
    MODEL_RULE,
    STICKY_RULE,
    VERSION_RULE,
    ModelName,
    VersionKey,
    VersionName,
    check_model_name,
    check_sticky_header,
    check_version_name,
)

MODEL = TypeAdapter[str](ModelName)
VERSION = TypeAdapter[str](VersionName)


def passes(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", ["a", "7", "iris", "iris-2", "a--b", "0x", "a" * 63])
def test_dns_labels_name_models(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "Iris",
        "iris_2",
        "iris.2",
        "a b",
        "a" * 64,
        "ä",
        "a\n",
        "\u0663",
        "../a",
        "a/b",
    ],
)
def test_everything_else_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a model: " + re.escape(MODEL_RULE)):
        check_model_name(name)


@pytest.mark.parametrize("version", ["1", "v1.2.3", "1.0-rc_1", "...", "-", "_", "A" * 32])
def test_versions_are_written_as_people_write_them(version: str) -> None:
    assert check_version_name(version) == version


@pytest.mark.parametrize(
    "version", ["", ".", "..", "1/2", "1 2", "a" * 33, "é", "1\n", "1:2", "%2e"]
)
def test_other_versions_are_refused_with_the_rule(version: str) -> None:
    with pytest.raises(ValueError, match="cannot name a version: " + re.escape(VERSION_RULE)):
        check_version_name(version)


def test_a_refused_name_is_shown_harmlessly_and_in_short() -> None:
    with pytest.raises(ValueError, match="cannot name") as caught:
        check_model_name("\x1b[2J\n" + "x" * 1000)
    told = str(caught.value)
    assert told.isprintable()
    assert told.startswith(r"'\x1b[2J\nxxx")
    assert len(told) < 300


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True).filter(
    lambda text: text not in {".", ".."}
)
anything = st.text(max_size=70) | st.from_regex(r"[A-Za-z0-9._\-/:%$ ]{1,70}", fullmatch=True)


@given(names)
def test_every_dns_label_passes(name: str) -> None:
    assert passes(MODEL, name)


@given(versions)
def test_every_version_by_the_rule_passes(version: str) -> None:
    assert passes(VERSION, version)


@given(anything | names | versions)
def test_whatever_passes_needs_no_escaping_anywhere(text: str) -> None:
    if not (passes(MODEL, text) or passes(VERSION, text)):
        return
    # In a URL: neither quoted, nor resolved away, nor split.
    assert quote(text, safe="") == text
    url = httpx.URL("http://x/v1/models/").join(f"{text}/predict")
    assert httpx.URL(f"http://x/v1/models/{text}/predict").path == f"/v1/models/{text}/predict"
    assert url.path == f"/v1/models/{text}/predict"
    # In a shell.
    assert shlex.quote(text) == text
    # As a file's name and as a label's value of Docker.
    assert "/" not in text
    assert text not in {"", ".", ".."}
    assert text.isascii()
    assert text.isprintable()


@given(names)
def test_a_models_name_is_a_host_name_too(name: str) -> None:
    assert httpx.URL(f"http://{name}.example.com/").host == f"{name}.example.com"


@given(names, versions)
def test_keys_are_read_as_they_are_written(name: str, version: str) -> None:
    key = VersionKey(name, version)
    assert VersionKey.parse(str(key)) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iris", "'iris' names no version: write NAME:VERSION"),
        ("iris:", "cannot name a version"),
        (":1", "cannot name a model"),
        ("iris:1:2", "cannot name a version"),
    ],
)
def test_what_is_no_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VersionKey.parse(text)


@pytest.mark.parametrize(
    "name", ["x-user-id", "X-User-ID", "cookie", "_", "a" * 64, "x!#$%&'*+.^`|~"]
)
def test_tokens_name_sticky_headers(name: str) -> None:
    assert check_sticky_header(name) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 65,
        "x user",
        "x:user",
        "x-user\n",
        "x-\u00fcser",
        # Becomes an ASCII k when it is lowered.
        "x-\u212aelvin",
        "Connection",
        "TE",
        "transfer-encoding",
        "proxy-authorization",
        "host",
        "content-length",
        "x-longshore-shadow",
    ],
)
def test_no_other_header_can_be_sticky(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sticky: " + re.escape(STICKY_RULE)):
        check_sticky_header(name)
