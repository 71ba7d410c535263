"""What Kubernetes itself says of the objects: its schemas, and a cluster that would take them."""

import json

import kubernetes_validate
import pytest
from parts.kubectl import Kubectl
from parts.kubernetes_wanted import everything, wanted

from longshore.plugins.kubernetes.kinds import CLAIM_TEMPLATE, OURS
from longshore.plugins.kubernetes.manifests import deployment, manifests
from longshore.plugins.kubernetes.wanted import Wanted
from longshore.plugins.kubernetes.wishes import differences

VERSIONS = ("1.30", "1.32", "1.34", "1.36", "1.37")
"""Of Kubernetes; the sleep before a pod stops came with 1.30."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made", [wanted(), everything()], ids=["smallest", "everything"])
def test_kubernetes_own_schemas_agree(made: Wanted, version: str) -> None:
    found = manifests(made)
    for manifest in found.values():
        kubernetes_validate.validate(manifest, version, strict=True)
    # What only claimed GPUs need is in test_claims.py.
    assert made.autoscaled is False or set(found) == set(OURS) - {CLAIM_TEMPLATE}


@pytest.mark.kubernetes
@pytest.mark.parametrize("made", [wanted(), everything()], ids=["smallest", "everything"])
def test_what_a_cluster_makes_of_it_is_no_drift(made: Wanted, kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", kubectl.namespace)
    for manifest in manifests(made).values():
        manifest["metadata"]["namespace"] = kubectl.namespace
        command = ("apply", "--server-side", "--dry-run=server", "--output=json", "--filename=-")
        has = json.loads(kubectl.run(*command, given=json.dumps(manifest)))
        assert list(differences(manifest, has)) == []


def test_the_schemas_would_notice() -> None:
    manifest = deployment(wanted())
    manifest["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
