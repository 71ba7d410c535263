"""What an image leads to, asked of the built-in plugins and of others: as registration would."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import examples_of
import pytest
from parts.hardware import DECLARED, INFERRED, T4, labelled, node, profile, weights
from parts.memory_backend import MemoryBackend

from longshore.core.errors import Refused
from longshore.core.fitting import Fit, Prospect, prospect
from longshore.core.images import profile_image
from longshore.core.names import VersionKey
from longshore.core.nodes import profile_node
from longshore.core.plugins import build_plugins
from longshore.core.plugins_file import PluginsFile, read_plugins_file
from longshore.core.registration import Registration
from longshore.core.settings import Settings
from longshore.core.types import (
    Confidence,
    Decision,
    Evidence,
    ImageProfile,
    Node,
    NodeProfile,
    VersionSpec,
)

IMAGES = """
from examples_of import image

@hookimpl
async def longshore_resolve_image(reference):
    return image()

@hookimpl(tryfirst=True)
def longshore_profile_image(image):
    need = Evidence(value="%s", source="a label", confidence="declared")
    return {"gpu_need": need}
"""
NO_NEED = {"gpu_need": ("none", INFERRED)}
REQUIRED = {"gpu_need": ("required", DECLARED)}
NONE: dict[str, Any] = {"gpus": []}


async def found(
    image: ImageProfile,
    *nodes: NodeProfile,
    folder: Path | None = None,
    code: str = "",
    **spec: Any,
) -> Prospect:
    file = PluginsFile()
    if folder is not None:
        (folder / "mine.py").write_text(f"from longshore import *\n{code}")
        (folder / "plugins.toml").write_text('[[plugin]]\npath = "mine.py"\n')
        file = read_plugins_file(folder / "plugins.toml")
    asked = VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec})
    return await prospect(build_plugins(file).hooks, asked, image, nodes)


def told(fits: Sequence[Fit]) -> list[tuple[str, str]]:
    """Return verdicts, and their reasons."""
    return [(each.verdict, "; ".join(reason.why for reason in each.reasons)) for each in fits]


def dark(name: str = "dark") -> NodeProfile:
    """Return a machine of whose GPUs nothing is known."""
    unknown = Evidence(value=None, source="no driver answers", confidence=Confidence.UNKNOWN)
    return node(name=name).model_copy(update={"facts": {"gpus": unknown}})


async def test_what_fits_has_a_score_and_what_does_not_a_reason_and_who_says_so() -> None:
    answer = await found(
        profile(NO_NEED), node(**NONE), node(architecture="arm64"), resources={"memory": "1Gi"}
    )
    assert told(answer.fits) == [
        ("fits", ""),
        ("does not fit", "it is arm64, and the image is built for amd64"),
    ]
    fits, other = answer.fits
    assert fits.scores is not None
    assert {"spreading", "numa", "gpu_class"} <= set(fits.scores)
    assert fits.score == round(sum(fits.scores.values()), 3)
    assert (other.score, [each.by for each in other.reasons]) == (None, ["architecture"])
    assert answer.failures == ()


async def test_an_image_that_needs_a_gpu() -> None:
    nowhere = await found(profile(REQUIRED), node(**NONE))
    assert told(nowhere.fits) == [("does not fit", "1 GPU asked for, it has none")]
    there = await found(profile(REQUIRED), node(**NONE), node(T4))
    assert [verdict for verdict, _ in told(there.fits)] == ["does not fit", "fits"]


async def test_an_image_that_may_use_one_fits_without() -> None:
    optional = profile({"gpu_need": ("optional", INFERRED)})
    answer = await found(optional, node(**NONE), node(T4), dark())
    assert [verdict for verdict, _ in told(answer.fits)] == ["fits", "fits", "fits"]


async def test_a_machine_whose_gpus_nobody_could_read_is_unknown_though_it_would_be_refused() -> (
    None
):
    answer = await found(profile(REQUIRED), dark(), node(name="plain", **NONE))
    assert answer.plan is not None
    assert "fail" in {each.outcome for each in answer.plan.verdicts}
    assert told(answer.fits) == [
        ("unknown", "which GPUs it has is not known: no driver answers"),
        ("does not fit", "1 GPU asked for, it has none"),
    ]
    assert answer.fits[0].score is None
    # What is certain goes before what is not known.
    arm = profile(REQUIRED, platforms=("linux/arm64",))
    [(verdict, why)] = told((await found(arm, dark())).fits)
    assert (verdict, why) == ("does not fit", "it is amd64, and the image is built for arm64")


async def test_a_plan_that_fails_for_certain_fits_nowhere_though_no_filter_objects() -> None:
    answer = await found(profile(REQUIRED), dark(), architecture="arm64")
    [(verdict, _)] = told(answer.fits)
    assert verdict == "does not fit"
    here = node(architecture="arm64", **NONE)
    [fit] = (await found(profile(NO_NEED), here, architecture="arm64")).fits
    assert fit.verdict == "does not fit"
    assert [each.by for each in fit.reasons] == ["architecture"]
    assert "that was asked for can run the image" in fit.reasons[0].why


async def test_gpus_of_a_cluster_of_which_nothing_is_known_are_unknown_and_taken() -> None:
    large = profile(REQUIRED | {"weights": weights(9000)})
    [fit] = (await found(large, labelled(gpus=1))).fits
    assert fit.verdict == "unknown"
    assert "memory of its GPUs is not known, and 8.8 GiB" in fit.reasons[0].why
    assert fit.score is not None, "registration takes it"


async def test_a_wish_that_conflicts_wins_and_is_told() -> None:
    answer = await found(profile(REQUIRED), node(**NONE), resources={"gpu": 0})
    assert told(answer.fits) == [("fits", "")]
    assert answer.plan is not None
    assert "by --gpu 0 it gets none" in answer.plan.warnings[0]


async def test_a_filter_that_fails_leaves_doubt_and_a_score_that_fails_none(
    tmp_path: Path,
) -> None:
    raising = '@hookimpl\ndef longshore_{}(node):\n    raise OSError("disk full")\n'
    image, here = profile(NO_NEED), node(**NONE)
    filtering = await found(image, here, folder=tmp_path, code=raising.format("filter_node"))
    why = "plugin mine failed in longshore_filter_node: OSError: disk full"
    assert told(filtering.fits) == [("unknown", why)]
    assert filtering.failures == (why,)
    scoring = await found(image, here, folder=tmp_path, code=raising.format("score_node"))
    why = "plugin mine failed in longshore_score_node: OSError: disk full"
    assert (told(scoring.fits), scoring.failures) == ([("fits", "")], (why,))


async def test_a_planner_that_fails_gives_way_to_the_next_and_is_named(tmp_path: Path) -> None:
    code = '@hookimpl\ndef longshore_plan_hardware(version):\n    raise OSError("no")\n'
    answer = await found(profile(NO_NEED), node(**NONE), folder=tmp_path, code=code)
    assert told(answer.fits) == [("fits", "")]
    assert answer.failures == ("plugin mine failed in longshore_plan_hardware: OSError: no",)


@pytest.mark.parametrize("hook", ["plan_hardware(version)", "filter_node(node)"])
async def test_a_plugin_that_refuses_is_a_reason_everywhere(tmp_path: Path, hook: str) -> None:
    code = f'@hookimpl\ndef longshore_{hook}:\n    raise Refused("not on a Friday")\n'
    answer = await found(profile(NO_NEED), node(), node(T4), folder=tmp_path, code=code)
    assert told(answer.fits) == [("does not fit", "not on a Friday")] * 2
    assert (answer.plan is None) is ("plan" in hook)


async def test_without_anybody_who_plans_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "plugins.toml"
    path.write_text('[[plugin]]\nname = "hardware_plan"\nenabled = false\n')
    hooks = build_plugins(read_plugins_file(path)).hooks
    asked = VersionSpec(image="localhost:5001/iris:1")
    answer = await prospect(hooks, asked, profile(NO_NEED), [node()])
    assert answer.plan is None
    assert told(answer.fits) == [("unknown", "no plugin planned the hardware for this version")]


class Nodes(MemoryBackend):
    """A backend with machines that differ in what plans ask for."""

    async def nodes(self) -> tuple[Node, ...]:
        cluster = {"kubernetes.io/arch": "amd64"}
        return (
            machine("small", memory_mib=512),
            machine("middle", labels={"disk": "ssd"}),
            machine("arm", architecture="arm64"),
            machine("gpus", gpus=2, labels=cluster),
            machine("none", labels={**cluster, "disk": "ssd"}),
        )


def machine(name: str, **described: Any) -> Node:
    usual = {"architecture": "amd64", "cpu_millicores": 4000, "memory_mib": 4096}
    return Node.model_validate({"name": name, **usual, **described})


@pytest.mark.parametrize("need", ["none", "optional", "required"])
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"resources": {"memory": "1Gi", "cpu": 1}},
        {"resources": {"gpu": 1}},
        {"resources": {"gpu": 0}},
        {"resources": {"gpu_memory": "8Gi"}},
        {"resources": {"gpu": 8}},
        {"architecture": "arm64"},
        {"node_selector": {"disk": "ssd"}},
    ],
)
async def test_it_has_a_score_where_a_registration_takes_the_node(
    tmp_path: Path, need: str, spec: dict[str, Any]
) -> None:
    (tmp_path / "mine.py").write_text(f"from longshore import *\n{IMAGES % need}")
    (tmp_path / "plugins.toml").write_text('[[plugin]]\npath = "mine.py"\n')
    hooks = build_plugins(read_plugins_file(tmp_path / "plugins.toml")).hooks
    settings, backend = Settings(state=tmp_path / "state"), Nodes()
    asked = VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec})

    decisions: list[Decision] = []
    image = await profile_image(hooks, settings, examples_of.image(), decisions)
    nodes = [(await profile_node(hooks, each))[0] for each in await backend.nodes()]
    answer = await prospect(hooks, asked, image, nodes)
    taken = {each.node.node.name: each.score for each in answer.fits if each.score is not None}

    registration = Registration(settings, hooks, {backend.name: backend})
    try:
        version, _ = await registration.plan(VersionKey("iris", "1"), asked)
    except Refused:
        assert not taken
        assert "fits" not in {each.verdict for each in answer.fits}
        return
    assert version.placement.plan == answer.plan
    assert {each.name: each.score for each in version.placement.nodes} == taken
