"""The images plugin against real registries."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parts.handmade import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    RunningRegistry,
    Server,
)
from pydantic import SecretStr

from longshore.core.errors import InvalidInput, Unavailable
from longshore.core.settings import RegistryLogin, Settings
from longshore.core.types import Confidence, Evidence, Image
from longshore.hardware.manifests import Platform
from longshore.hardware.plugin import Plugin

USER, PASSWORD = "longshoreman", "corr=ect:horse"
AMD64 = Platform(os="linux", architecture="amd64")

CONFIG: dict[str, Any] = {
    "os": "linux",
    "architecture": "amd64",
    "config": {
        "Env": ["PATH=/bin", "EMPTY=", "EQUALS=a=b"],
        "Labels": {"longshore.port": "9000"},
        "Entrypoint": ["python3"],
        "Cmd": ["serve.py"],
        "User": "1000",
        "WorkingDir": "/app",
        "ExposedPorts": {"9090/tcp": {}, "8080": {}, "53/udp": {}},
    },
}


def config(architecture: str = "amd64", **container: Any) -> dict[str, Any]:
    return {"os": "linux", "architecture": architecture, "config": container}


async def resolve(reference: str, **settings: Any) -> Image:
    return await Plugin(wanted=AMD64).longshore_resolve_image(
        reference, Settings.model_validate(settings)
    )


async def profile(image: Image, state: Path) -> Mapping[str, Evidence]:
    return await Plugin(wanted=AMD64).longshore_profile_image(
        image, Settings(state=state), lambda _: None
    )


def login(host: str, username: str, password: str) -> dict[str, RegistryLogin]:
    return {host: RegistryLogin(username=username, password=SecretStr(password))}


@pytest.mark.parametrize(
    "types",
    [{}, {"media_type": DOCKER_MANIFEST, "config_type": DOCKER_CONFIG}],
    ids=["oci", "docker"],
)
async def test_an_image_is_found_with_all_that_its_configuration_says(
    registry: RunningRegistry, types: dict[str, Any]
) -> None:
    pushed = registry.image("team/iris", "1", CONFIG, layers=(b"one", b"three"), **types)
    image = await resolve(f"{registry.host}/team/iris:1")
    assert image.pinned == f"{registry.host}/team/iris@{pushed.digest}"
    assert image.reference == f"{registry.host}/team/iris:1"
    assert image.platforms == ("linux/amd64",)
    assert image.size_bytes == 8
    assert image.config.model_dump(mode="json") == {
        "architecture": "amd64",
        "os": "linux",
        "env": {"PATH": "/bin", "EMPTY": "", "EQUALS": "a=b"},
        "labels": {"longshore.port": "9000"},
        "entrypoint": ["python3"],
        "cmd": ["serve.py"],
        "user": "1000",
        "working_dir": "/app",
        "tcp_ports": [8080, 9090],
    }


async def test_a_digest_names_the_same_image_after_its_tag_moved(
    registry: RunningRegistry,
) -> None:
    first = registry.image("moved", "1", config(User="1"))
    registry.image("moved", "1", config(User="2"))
    assert (await resolve(f"{registry.host}/moved:1")).config.user == "2"
    by_digest = await resolve(f"{registry.host}/moved:1@{first.digest}")
    assert (by_digest.config.user, by_digest.digest) == ("1", first.digest)


async def test_without_a_tag_latest_is_meant(registry: RunningRegistry) -> None:
    pushed = registry.image("plain", "latest", config())
    assert (await resolve(f"{registry.host}/plain")).digest == pushed.digest


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_LIST])
async def test_of_several_platforms_this_machines_is_read_and_the_index_pinned(
    registry: RunningRegistry, kind: str
) -> None:
    images = {
        "linux/arm64/v8": registry.image("many", "arm", config("arm64")),
        "linux/amd64": registry.image("many", "amd", config("amd64", User="7"), layers=(b"12345",)),
        "unknown/unknown": registry.image("many", "attestation", config("unknown")),
    }
    index = registry.index("many", "1", images, media_type=kind)
    image = await resolve(f"{registry.host}/many:1")
    assert image.digest == index.digest
    assert image.platforms == ("linux/arm64/v8", "linux/amd64")
    assert (image.config.user, image.size_bytes) == ("7", 5)


async def test_of_several_variants_the_least_demanding_is_read(registry: RunningRegistry) -> None:
    images = {
        "linux/amd64/v3": registry.image("variants", "v3", config(User="3")),
        "linux/amd64": registry.image("variants", "v1", config(User="1")),
    }
    registry.index("variants", "1", images)
    assert (await resolve(f"{registry.host}/variants:1")).config.user == "1"


async def test_an_index_without_this_platform_says_which_there_are(
    registry: RunningRegistry,
) -> None:
    images = {
        "linux/arm64": registry.image("arms", "64", config("arm64")),
        "linux/arm/v7": registry.image("arms", "7", config("arm")),
    }
    registry.index("arms", "1", images)
    with pytest.raises(InvalidInput) as caught:
        await resolve(f"{registry.host}/arms:1")
    assert caught.value.message == (
        f"{registry.host}/arms:1 has no image for linux/amd64; it has: linux/arm64, linux/arm/v7"
    )
    assert caught.value.pointer == "/image"


async def test_an_index_in_an_index_is_refused(registry: RunningRegistry) -> None:
    image = registry.image("nested", "image", config())
    inner = registry.index("nested", "inner", {"linux/amd64": image})
    registry.index("nested", "1", {"linux/amd64": inner})
    with pytest.raises(InvalidInput, match="an index inside an index"):
        await resolve(f"{registry.host}/nested:1")


async def test_something_else_than_an_image_is_refused(registry: RunningRegistry) -> None:
    registry.image("chart", "1", {}, config_type="application/vnd.cncf.helm.config.v1+json")
    with pytest.raises(InvalidInput, match=r"no container image, but 'application/vnd\.cncf\.helm"):
        await resolve(f"{registry.host}/chart:1")


@pytest.mark.parametrize("name", ["iris:2", "never-pushed:1", "iris@sha256:" + "0" * 64])
async def test_what_a_registry_does_not_have_is_told_with_its_name(
    registry: RunningRegistry, name: str
) -> None:
    registry.image("iris", "1", config())
    with pytest.raises(InvalidInput) as caught:
        await resolve(f"{registry.host}/{name}")
    assert caught.value.message == (
        f"registry {registry.host} has no image {registry.host}/{name} (manifest unknown)"
    )
    assert caught.value.hint == f"Push it first: docker push {registry.host}/{name}"


async def test_a_registry_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        await resolve("localhost:1/iris:1")
    assert caught.value.message == "registry localhost:1 does not answer: connection refused"
    assert caught.value.hint == "Is it running, and is localhost:1 its right address?"


async def test_a_registry_whose_name_nobody_knows_is_not_taken_for_plain_http() -> None:
    with pytest.raises(Unavailable) as caught:
        await resolve("registry.invalid/iris:1")
    told = "registry registry.invalid does not answer: no address is found by its name ("
    assert caught.value.message.startswith(told)
    assert "Errno" not in caught.value.message
    assert "insecure_registries" not in (caught.value.hint or "")


async def test_plain_http_beyond_loopback_needs_the_setting(registry: RunningRegistry) -> None:
    # It reaches this machine, and is no loopback address.
    host = registry.host.replace("localhost", "0.0.0.0")  # noqa: S104 - nothing listens there
    registry.image("iris", "1", config())
    with pytest.raises(Unavailable) as caught:
        await resolve(f"{host}/iris:1")
    assert f'insecure_registries = ["{host}"]' in caught.value.hint
    assert (await resolve(f"{host}/iris:1", insecure_registries=[host])).platforms


async def test_https_is_spoken_beyond_loopback_and_certificates_count(
    tls_registry: tuple[RunningRegistry, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, certificate = tls_registry
    pushed = running.image("iris", "1", config())
    with pytest.raises(Unavailable) as caught:
        await resolve(f"{running.host}/iris:1")
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.message
    assert caught.value.hint.endswith("SSL_CERT_FILE=authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert (await resolve(f"{running.host}/iris:1")).digest == pushed.digest


# --- logins ---------------------------------------------------------------------------------------


async def test_a_password_opens_a_registry(password_registry: RunningRegistry) -> None:
    host = password_registry.host
    pushed = password_registry.image("iris", "1", CONFIG)
    found = await resolve(f"{host}/iris:1", registries=login(host, USER, PASSWORD))
    assert found.digest == pushed.digest


async def test_bearer_tokens_are_fetched_with_the_login(token_registry: Any) -> None:
    running: RunningRegistry = token_registry.registry
    pushed = running.image("team/iris", "1", CONFIG)
    logins = login(running.host, USER, PASSWORD)
    image = await resolve(f"{running.host}/team/iris:1", registries=logins)
    assert image.digest == pushed.digest
    service: Server = token_registry.service
    assert service.asked[-1][0] == (
        "/token?scope=repository%3Ateam%2Firis%3Apull&service=the-registry"
    )


@pytest.mark.parametrize("kind", ["password_registry", "token_registry"])
@pytest.mark.parametrize("known", [False, True], ids=["no login", "wrong password"])
async def test_a_refused_login_says_where_to_write_it_and_never_the_password(
    kind: str,
    known: bool,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = request.getfixturevalue(kind)
    host = getattr(running, "registry", running).host
    caplog.set_level(logging.DEBUG)
    logins = login(host, "longshoreman", "swordfish") if known else {}
    with pytest.raises(InvalidInput) as caught:
        await resolve(f"{host}/iris:1", registries=logins)
    why = "it refuses the login" if known else "it wants a login, or there is none such"
    assert caught.value.message == f"registry {host} does not show {host}/iris: {why}"
    assert caught.value.hint == (
        f'In plugins.toml: [longshore.registries."{host}"] with username and password'
    )
    assert "swordfish" not in caplog.text
    # Nor in the form in which it travels.
    assert "c3dvcmRmaXNo" not in caplog.text


# --- facts ----------------------------------------------------------------------------------------


async def test_facts_come_from_the_configuration_with_their_evidence(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    env = ["CUDA_VERSION=12.4.1", "NVIDIA_VISIBLE_DEVICES=all"]
    labels = {"longshore.port": "9000", "long": "x" * 1000}
    registry.image("gpu", "1", config(Env=env, Labels=labels, ExposedPorts={"8000/tcp": {}}))
    image = await resolve(f"{registry.host}/gpu:1")
    facts = await profile(image, tmp_path)
    assert {name: fact.value for name, fact in facts.items() if name != "scan"} == {
        "platforms": ["linux/amd64"],
        "ports": [8000],
        "labels": {"longshore.port": "9000", "long": "x" * 256},
        "cuda_version": "12.4.1",
        "gpu_need": "optional",
        "min_driver": 525,
    }
    assert facts["platforms"].source == f"manifest {image.digest}"
    assert facts["gpu_need"].confidence is Confidence.INFERRED
    assert facts["gpu_need"].source == (
        "environment: CUDA_VERSION=12.4.1, NVIDIA_VISIBLE_DEVICES=all"
    )


@pytest.mark.parametrize("env", [[], ["NVIDIA_VISIBLE_DEVICES=void"], ["CUDA_VERSION="]])
async def test_no_evidence_of_gpus_gives_no_fact(
    registry: RunningRegistry, env: list[str], tmp_path: Path
) -> None:
    registry.image("cpu", "1", config(Env=env))
    facts = await profile(await resolve(f"{registry.host}/cpu:1"), tmp_path)
    assert not {"gpu_need", "cuda_version", "labels"} & set(facts)


async def delete(image: Image, **settings: Any) -> bool:
    return await Plugin(wanted=AMD64).longshore_delete_image(
        image, Settings.model_validate(settings)
    )


async def test_an_image_is_deleted_by_its_digest_and_again_in_silence(
    deleting_registry: RunningRegistry,
) -> None:
    first = deleting_registry.image("deleted", "1", config(User="1"))
    deleting_registry.image("deleted", "2", config(User="2"))
    host, logins = deleting_registry.host, login(deleting_registry.host, USER, PASSWORD)
    image = await resolve(f"{host}/deleted:1", registries=logins)
    assert image.digest == first.digest
    for _ in range(2):
        assert await delete(image, registries=logins)
    with pytest.raises(InvalidInput, match="has no image"):
        await resolve(f"{host}/deleted:1", registries=logins)
    assert (await resolve(f"{host}/deleted:2", registries=logins)).config.user == "2"


async def test_a_registry_that_deletes_nothing_is_told_of(registry: RunningRegistry) -> None:
    registry.image("kept", "1", config())
    image = await resolve(f"{registry.host}/kept:1")
    with pytest.raises(Unavailable, match="deletes no images") as caught:
        await delete(image)
    assert "delete_collected" in caught.value.hint
    assert await resolve(f"{registry.host}/kept:1") == image
