import math

import pytest
from examples_of import image
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from longshore.core.errors import InvalidInput
from longshore.core.types import Confidence, ImageConfig, ImageProfile, Serving, VersionSpec
from longshore.plugins.contracts import GenericContract, longshore_contract


def profile(ports: tuple[int, ...] = (), /, **labels: str) -> ImageProfile:
    named = {f"longshore.{name.replace('_', '-')}": text for name, text in labels.items()}
    config = ImageConfig(tcp_ports=ports, labels=named)
    return ImageProfile(image=image().model_copy(update={"config": config}))


def detect(image: ImageProfile, **spec: object) -> Serving:
    return GenericContract().detect(
        VersionSpec.model_validate({"image": "localhost:5001/iris:1", **spec}), image
    )


def test_the_hook_brings_the_generic_contract() -> None:
    assert longshore_contract().name == "generic"


def test_an_image_that_says_nothing_gets_the_defaults() -> None:
    serving = detect(profile())
    assert serving.model_dump(mode="json") == {
        "contract": "generic",
        "port": 8080,
        "health_path": "/health",
        "health_required": False,
        "predict_path": "/predict",
        "why": "port 8080 by default, health path /health by default, predict path /predict "
        "by default; a missing health path is no fault",
        "confidence": "unknown",
    }


def test_labels_come_before_exposed_ports_and_the_user_before_labels() -> None:
    assert detect(profile((9000, 8000))).port == 8000
    labelled = profile((8000,), port="7000", health_path="/live", predict_path="/score")
    serving = detect(labelled)
    assert (serving.port, serving.health_path, serving.predict_path) == (7000, "/live", "/score")
    assert serving.health_required
    assert serving.confidence is Confidence.DECLARED
    serving = detect(labelled, port=6000, health_path="/h", predict_path="/p")
    assert (serving.port, serving.health_path, serving.predict_path) == (6000, "/h", "/p")


def test_why_says_where_each_part_comes_from() -> None:
    serving = detect(profile((9000,), health_path="/live"), predict_path="/score")
    assert serving.why == (
        "port 9000 as the lowest that the image exposes, "
        "health path /live from the label longshore.health-path, predict path /score as registered"
    )


def test_a_declared_health_path_must_answer() -> None:
    assert detect(profile(), health_path="/health").health_required
    assert detect(profile(health_path="/health")).health_required


def test_it_is_sure_only_of_images_that_were_made_for_it() -> None:
    # A port or path that the user gives does not say which contract the container follows.
    assert detect(profile(), port=9000, predict_path="/p").confidence is Confidence.UNKNOWN
    assert detect(profile(), contract="generic").confidence is Confidence.DECLARED


@pytest.mark.parametrize(
    ("labels", "message", "pointer", "option"),
    [
        ({"port": "http"}, "longshore.port is 'http', which is no port", "/port", "--port"),
        ({"port": "99999"}, "longshore.port is '99999', which is no port", "/port", "--port"),
        (
            {"health_path": "live"},
            "longshore.health-path is 'live', which is no health path",
            "/health_path",
            "--health-path",
        ),
        (
            {"predict_path": "/a b\n"},
            "longshore.predict-path is '/a b\\n', which is no predict path",
            "/predict_path",
            "--predict-path",
        ),
    ],
)
def test_a_wrong_label_is_named(
    labels: dict[str, str], message: str, pointer: str, option: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        detect(profile((), **labels))
    assert caught.value.message == f"the image's label {message}"
    assert caught.value.pointer == pointer
    assert caught.value.hint == f"Mend the label, or overrule it with {option}."


def test_the_user_overrules_a_wrong_label() -> None:
    assert detect(profile(port="http"), port=8000).port == 8000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_features_travel_unchanged(features: JsonValue) -> None:
    contract = GenericContract()
    body, kind = contract.encode(features)
    assert kind == "application/json"
    assert contract.decode(body, kind) == features


def test_features_with_half_a_character_travel_escaped() -> None:
    assert GenericContract().encode("\ud800")[0] == b'"\\ud800"'


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_features_that_are_no_json_are_refused(number: float) -> None:
    with pytest.raises(InvalidInput, match="NaN or infinity") as caught:
        GenericContract().encode([[number]])
    assert caught.value.pointer == "/features"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[NaN]", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        GenericContract().decode(body, "application/json")
