"""A version's nodes and hardware plan as the affinity and tolerations of its pods."""

from parts.kubernetes_wanted import AFFINITY, FEATURE, pod


def test_only_on_its_nodes() -> None:
    made = pod(around={"nodes": ("a", "b")})["affinity"]["nodeAffinity"]
    terms = [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
        for name in ("a", "b")
    ]
    assert made == {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


AMD64 = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
LARGE = {"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["20479"]}
UNKNOWN = {"key": "nvidia.com/gpu.memory", "operator": "DoesNotExist"}


def test_the_plan_becomes_affinity_tolerations_and_a_selector() -> None:
    made = pod(
        affinity=AFFINITY,
        preferred=(FEATURE,),
        tolerations=({"key": "nvidia.com/gpu"},),
        node_selector={"disk": "ssd"},
    )
    assert made["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [AMD64, LARGE]},
                    {"matchExpressions": [AMD64, UNKNOWN]},
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 10,
                    "preference": {
                        "matchExpressions": [
                            {
                                "key": "feature.node.kubernetes.io/cpu-cpuid.AVX512F",
                                "operator": "In",
                                "values": ["true"],
                            }
                        ]
                    },
                }
            ],
        }
    }
    assert made["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert made["nodeSelector"] == {"disk": "ssd"}
    assert not {"affinity", "tolerations", "nodeSelector"} & pod().keys()


def test_each_alternative_holds_on_each_of_its_nodes() -> None:
    made = pod(around={"nodes": ("a", "b")}, affinity=AFFINITY)["affinity"]["nodeAffinity"]
    terms = made["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [
        {
            "matchExpressions": [AMD64, last],
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}],
        }
        for name in ("a", "b")
        for last in (LARGE, UNKNOWN)
    ]
