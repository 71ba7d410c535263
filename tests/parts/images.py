"""Test images, built once and pushed to whichever registry a test run has."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base_image import base_image, cache_directory
from engine_cli import EngineCli, find_engine_cli

IMAGES = Path(__file__).parent.parent / "images"


def push_image(name: str, registry: str, repository: str = "") -> str:
    """Build ``tests/images/NAME`` and push it; return its reference.

    Each build is an image of its own: tests that run side by side would remove each other's, for an
    engine knows an image by its digest, whatever repository it came from.

    Args:
        name: which image.
        registry: where to push it, ``host:port``.
        repository: another name to push it under.

    Raises:
        PartMissing: there is no container engine.
    """
    engine = find_engine_cli(cache_directory())
    repository = repository or name
    reference = f"{registry}/{repository}:1"
    with tempfile.TemporaryDirectory(prefix="longshore-image-") as scratch:
        context = Path(scratch, name)
        shutil.copytree(IMAGES / name, context)
        mark = uuid.uuid4().hex
        engine.build(context, reference, cached=False, BASE=base_image(engine), MARK=mark)
    engine.push(reference)
    # The layers stay behind the reference in the registry; the engine pulls them as a user's would.
    engine.run("rmi", reference)
    return reference


@contextmanager
def logged_in(engine: EngineCli, registry: str, login: tuple[str, str]) -> Iterator[None]:
    """Let the engine push to a registry that asks for a login, for as long as this is open."""
    user, password = login
    plain = ["--tls-verify=false"] if engine.program == "podman" else []
    engine.run("login", *plain, "-u", user, "-p", password, registry)
    try:
        yield
    finally:
        engine.run("logout", registry)
