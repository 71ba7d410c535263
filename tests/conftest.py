"""What all tests share: the folders on the path, and the real parts.

A part that is absent skips the tests that need it, and the skip says which part it is.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
sys.path[:0] = [str(TESTS), str(ROOT / "examples" / "parts"), str(ROOT / "deploy")]

from base_image import cache_directory  # noqa: E402
from engine_cli import EngineCli, PartMissing, find_engine_cli  # noqa: E402 - needs the path
from image import build  # noqa: E402
from oci_registry import oci_registry  # noqa: E402
from parts.images import push_image  # noqa: E402
from parts.kubectl import Kubectl  # noqa: E402
from parts.postgres import Postgres, postgres_server  # noqa: E402

LOGIN = ("robot", "a-secret")


@contextmanager
def skipping() -> Iterator[None]:
    """Turn a missing part into a skip that names it."""
    try:
        yield
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def engine_cli() -> EngineCli:
    """The docker or podman command line."""
    with skipping():
        return find_engine_cli(cache_directory())


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ``host:port`` of an open image registry."""
    with skipping(), oci_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host
    _forget_images(host)


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The ``host:port`` of an image registry that asks for ``LOGIN``."""
    with skipping(), oci_registry(tmp_path_factory.mktemp("private"), login=LOGIN) as host:
        yield host
    _forget_images(host)


def _forget_images(registry: str) -> None:
    with contextlib.suppress(PartMissing):
        find_engine_cli(cache_directory()).forget(registry)


@pytest.fixture(scope="session")
def behave(engine_cli: EngineCli, registry: str) -> str:
    """The reference of the image whose behaviour is set by its environment."""
    return push_image("behave", registry)


@pytest.fixture(scope="session")
def built_image(engine_cli: EngineCli) -> str:
    """The platform's own image, in the engine alone."""
    reference = "localhost/longshore-test"
    inspect = ("image", "inspect", "--format", "{{.Id}}", reference)
    before = engine_cli.attempt(*inspect)
    build(engine_cli, reference)
    if before and before != engine_cli.attempt(*inspect):
        # The one of an earlier run, which has no name now.
        engine_cli.attempt("rmi", before.strip())
    return reference


@pytest.fixture(scope="session")
def platform_image(engine_cli: EngineCli, registry: str, built_image: str) -> str:
    """The reference of the platform's own image in the registry."""
    reference = f"{registry}/longshore:test"
    engine_cli.push_as(built_image, reference)
    return reference


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with skipping(), postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> str:
    """The kubeconfig of a cluster that answers."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        pytest.skip("KUBECONFIG names no cluster")
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    command = ["kubectl", "--request-timeout=10s", "get", "--raw=/readyz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the cluster of {kubeconfig} does not answer: {done.stderr.strip()}")
    return kubeconfig


@pytest.fixture
def kubectl(cluster: str) -> Iterator[Kubectl]:
    kubectl = Kubectl(f"longshore-test-{uuid.uuid4().hex[:8]}")
    yield kubectl
    kubectl.run("delete", "namespace", kubectl.namespace, "--ignore-not-found", "--wait=false")
