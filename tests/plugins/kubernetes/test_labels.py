"""What objects are called."""

import re

from hypothesis import given
from hypothesis import strategies as st

from longshore.core.names import VersionKey
from longshore.plugins.kubernetes.labels import is_key, is_value, labels, object_name

MODELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,32}", fullmatch=True)
DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def test_people_can_read_it() -> None:
    assert re.fullmatch(
        r"longshore-iris-1-0-b-[0-9a-f]{8}", object_name("o", VersionKey("iris", "1.0_B"))
    )


@given(MODELS, VERSIONS)
def test_any_version_has_a_name_and_labels_that_kubernetes_takes(model: str, version: str) -> None:
    key = VersionKey(model, version)
    assert DNS_LABEL.fullmatch(object_name("owner", key))
    for name, value in labels("owner", key).items():
        assert is_key(name)
        assert is_value(value)


def test_versions_that_differ_little_have_other_names() -> None:
    names = {object_name("o", VersionKey("iris", each)) for each in ("a", "A", "a.", "a_", "a-")}
    assert len(names) == 5
    assert object_name("o", VersionKey("iris", "1")) != object_name("p", VersionKey("iris", "1"))
