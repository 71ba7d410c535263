"""Whether a cluster has what was applied."""

import copy
from typing import Any

import pytest

from longshore.plugins.kubernetes.wishes import correction, differences

WANTED: dict[str, Any] = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {"env": [{"name": "A", "value": ""}], "volumes": [{"emptyDir": {}}], "number": 2},
}


def completed() -> dict[str, Any]:
    """Return what an API server makes of it: more of everything."""
    has = copy.deepcopy(WANTED)
    has["metadata"] |= {"uid": "x", "labels": {"a": "1", "b": "2"}}
    has["spec"]["env"] = [{"name": "A"}]
    has["spec"]["replicas"] = 4
    has["status"] = {}
    return has


def test_what_is_there_besides_is_no_matter() -> None:
    assert list(differences(WANTED, completed())) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".spec.number", 3),
        (".spec.env", []),
        (".spec.env[0].value", "set"),
        (".metadata.labels.a", None),
        (".spec", None),
    ],
)
def test_what_is_changed_is_told_by_its_path(path: str, value: object) -> None:
    has: Any = completed()
    match path:
        case ".spec.number":
            has["spec"]["number"] = value
        case ".spec.env":
            has["spec"]["env"] = value
        case ".spec.env[0].value":
            has["spec"]["env"][0]["value"] = value
        case ".metadata.labels.a":
            del has["metadata"]["labels"]["a"]
        case ".spec":
            del has["spec"]
    assert list(differences(WANTED, has)) == [path]


def test_one_more_label_selects_something_else() -> None:
    wanted = {"spec": {"selector": {"a": "1"}, "labels": {"a": "1"}}}
    has = {"spec": {"selector": {"a": "1", "b": "2"}, "labels": {"a": "1", "b": "2"}}}
    assert list(differences(wanted, has)) == [".spec.selector"]
    assert correction(wanted, has) == {"spec": {"selector": {"b": None}}}


def test_what_somebody_added_to_a_list_of_ours_goes() -> None:
    wanted = {"spec": {"containers": [{"name": "model"}], "replicas": 1}}
    has = {"spec": {"containers": [{"name": "model", "x": 1}, {"name": "spy"}], "replicas": 3}}
    assert correction(wanted, has) == {"spec": {"containers": [{"name": "model"}]}}
    assert correction(wanted, {"spec": {"containers": [{"name": "model", "x": 1}]}}) == {}


def test_the_same_amount_in_other_words_is_no_difference() -> None:
    wanted = {"resources": {"limits": {"cpu": "2000m", "memory": "1024Mi"}}}
    assert list(differences(wanted, {"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}})) == []
    more = {"resources": {"limits": {"cpu": "2", "memory": "2Gi"}}}
    assert list(differences(wanted, more)) == [".resources.limits.memory"]
    assert list(differences({"env": {"A": "1024Mi"}}, {"env": {"A": "1Gi"}})) == [".env.A"]
