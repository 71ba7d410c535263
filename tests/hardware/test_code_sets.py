"""Which GPUs run which code: a plan says the same set by labels as the rules have it."""

from hypothesis import given
from parts.gpu_code import CAPABILITIES, CODE, facts_of, running
from parts.hardware import planned, profile

from longshore.core.gpus import Gpu, lacking, meets
from longshore.core.types import Requirement

MAJOR = "nvidia.com/gpu.compute.major"
MINOR = "nvidia.com/gpu.compute.minor"


def holds(requirement: Requirement, capability: tuple[int, int]) -> bool:
    """Return whether a labelled node meets a requirement, as a scheduler has it."""
    match requirement.operator, requirement.label:
        case "DoesNotExist", _:
            return False
        case _, "kubernetes.io/arch":
            return True
        case "Gt", label:
            return capability[label == MINOR] > int(requirement.values[0])
        case "In", label:
            return str(capability[label == MINOR]) in requirement.values
    raise AssertionError(requirement)


@given(CODE)
def test_labels_and_rules_say_the_same_set(code: tuple[list[str], list[str]]) -> None:
    plan = planned(profile(facts_of(*code)), resources={"gpu": 1})
    by_labels = {
        each
        for each in CAPABILITIES
        if any(all(holds(asked, each) for asked in term) for term in plan.affinity)
    }
    by_rules = {each for each in CAPABILITIES if not lacking(plan.gpu_code, each)}
    by_gpus = {each for each in CAPABILITIES if meets(plan.affinity, Gpu(1, each))}
    assert by_labels == by_rules == by_gpus == running(*code)
    assert meets(plan.affinity, Gpu())
