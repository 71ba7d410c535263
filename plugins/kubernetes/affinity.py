"""On which nodes the pods of one version may and should run. Pure."""

from collections.abc import Sequence
from itertools import product

from longshore.core.types import Requirement, Toleration, Workload
from longshore.plugins.kubernetes.kinds import Json

PREFERENCE = 10
"""Weight of each preferred requirement, of 100."""


def scheduling(workload: Workload, nodes: Sequence[str]) -> Json:
    """Return the parts of a pod's spec that keep it to its nodes.

    Args:
        workload: whose plan says which nodes will do.
        nodes: names of those that it is kept to besides; any if empty.
    """
    spec: Json = {}
    affinity: Json = {}
    if terms := _terms(workload.affinity, nodes):
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if workload.preferred:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": PREFERENCE, "preference": {"matchExpressions": [_expression(each)]}}
            for each in workload.preferred
        ]
    if affinity:
        spec["affinity"] = {"nodeAffinity": affinity}
    if workload.node_selector:
        spec["nodeSelector"] = dict(workload.node_selector)
    if workload.tolerations:
        spec["tolerations"] = [_toleration(each) for each in workload.tolerations]
    return spec


def _terms(alternatives: Sequence[Sequence[Requirement]], names: Sequence[str]) -> list[Json]:
    """Return the terms, of which a node must meet one: each alternative on each named node.

    A field can be compared with one name at a time.
    """
    fields = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
        for name in names
    ]
    labels = [
        {"matchExpressions": [_expression(each) for each in alternative]}
        for alternative in alternatives
    ]
    if not fields or not labels:
        return fields or labels
    return [{**label, **field} for field, label in product(fields, labels)]


def _expression(requirement: Requirement) -> Json:
    expression: Json = {"key": requirement.label, "operator": requirement.operator}
    if requirement.values:
        expression["values"] = list(requirement.values)
    return expression


def _toleration(toleration: Toleration) -> Json:
    return {"key": toleration.key, "operator": "Exists", "effect": toleration.effect}
