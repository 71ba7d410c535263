"""What the chart's values may be."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
import yaml
from parts.helm import CHART, Helm, HelmRefused

from longshore.core.settings import Settings
from longshore.plugins.kubernetes.settings import KubernetesSettings

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
PAGE = (CHART.parents[2] / "docs" / "operators.md").read_text()

OF_THE_CHART = {"host", "port", "advertise", "state", "backend", "insecure", "workers", "grace"}
SECRET = {"database", "api_key"}
OF_ITS_PLUGIN = {"kubeconfig", "context", "namespace", "routers"}


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with its path; a table that may hold anything is a value."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "resources":
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name, value


def known(schema: Mapping[str, Any], path: str = "") -> set[str]:
    """Return the paths of all values that the schema names."""
    found = set()
    for name, below in schema.get("properties", {}).items():
        found |= {path + name} | known(below, f"{path}{name}.")
    return found


def test_values_and_schema_know_the_same() -> None:
    inner = re.compile(r"resources\.|^(settings|kubernetes|plugins|global)\b")
    there = {path for path, _ in leaves(VALUES) if not inner.search(path)}
    said = {path for path in known(SCHEMA) if not inner.search(path)}
    tables = {path.rpartition(".")[0] for path in said}
    assert there - said == set()
    assert {each for each in said if each not in there and each not in tables} - {
        "controller.resources",
        "router.resources",
        "nodeInspection.resources",
    } == set()


def test_every_table_of_the_schema_refuses_what_it_does_not_know() -> None:
    def check(schema: Mapping[str, Any], path: str) -> None:
        if "properties" in schema and "items" not in path:
            assert schema["additionalProperties"] is False, path
            for name, below in schema["properties"].items():
                check(below, f"{path}.{name}")

    check(SCHEMA, "values")


def test_settings_are_those_of_longshore() -> None:
    may = SCHEMA["properties"]
    assert set(may["settings"]["properties"]) == set(Settings.model_fields) - OF_THE_CHART - SECRET
    plugin = {name for name in KubernetesSettings.model_fields if not name.startswith("metrics_")}
    assert set(may["kubernetes"]["properties"]) == plugin - OF_ITS_PLUGIN


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for before, line in pairwise(lines):
        if re.match(r" *[A-Za-z]+:", line) and not line.startswith("    requests"):
            alone = line.endswith(":") or line.startswith("    limits")
            assert alone or before.lstrip().startswith("#"), line


def test_every_value_stands_in_the_docs_and_no_other() -> None:
    table = PAGE.partition("### Values")[2].partition("### Rights")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| (`[^|]*`|) ?\|", table, re.MULTILINE)
    said = {name: default for names, default in rows for name in re.findall("`([^`]+)`", names)}
    has = dict(leaves(VALUES))
    assert set(said) == set(has)
    for name, value in has.items():
        if name.endswith(".resources"):
            amounts = re.findall("`([^`]+)`", said[name])
            assert amounts == [*value["requests"].values(), *value["limits"].values()], name
        else:
            empty = value in ("", [], {})
            shown = json.dumps(value) if isinstance(value, bool | list) else str(value)
            assert said[name] == ("" if empty else f"`{shown}`"), name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"replicas": 3}, "Additional property replicas is not allowed"),
        ({"router": {"replica": 3}}, "router: Additional property replica is not allowed"),
        ({"router": {"replicas": 0}}, "router.replicas: Must be greater than or equal to 1"),
        ({"router": {"grace": "30s"}}, "router.grace: Invalid type. Expected: integer"),
        ({"image": {"digest": "latest"}}, "image.digest: Does not match pattern"),
        ({"settings": {"api_key": "x"}}, "settings: Additional property api_key is not allowed"),
        ({"settings": {"max_bodi": 1}}, "settings: Additional property max_bodi is not allowed"),
        ({"kubernetes": {"drian": 1}}, "kubernetes: Additional property drian is not allowed"),
        ({"database": {"url": "sqlite:///x"}}, "database.url: Does not match pattern"),
        ({"database": {"url": ""}}, "database.url is needed: postgresql://"),
        ({"image": {"repository": ""}}, "image.repository is needed"),
        ({"ingress": {"enabled": True}}, "ingress.host is needed"),
        ({"metrics": {"existingSecret": "mine"}}, "the Secret mine has no ca.crt"),
        ({"service": {"type": "Cluster"}}, "service.type: service.type must be one of"),
        ({"plugins": [{"settings": {}}]}, "plugins.0: name is required"),
        ({"nodeInspection": {"hostPath": "/"}}, "nodeInspection: Additional property hostPath"),
    ],
)
def test_wrong_values_are_refused_and_why(
    needed: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    for name, value in change.items():
        needed[name] = {**needed.get(name, {}), **value} if isinstance(value, dict) else value
    with pytest.raises(HelmRefused) as refused:
        Helm("apart", needed).objects()
    assert says in str(refused.value)
