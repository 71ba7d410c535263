"""The platform's own image, built and run as a cluster runs it: nobody's user, nothing writable."""

import pytest
from engine_cli import EngineCli

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("user", ["", "--user=54321:0"], ids=["its-own", "any-number"])
def test_it_runs_as_anybody_with_a_read_only_root(
    engine_cli: EngineCli, built_image: str, user: str
) -> None:
    options = ["--rm", "--read-only", "--network=none", *([user] if user else [])]
    shown = engine_cli.run("run", *options, built_image, "plugins", "--json")
    assert '"sql_registry"' in shown
    helped = engine_cli.run("run", *options, built_image)
    assert "controller" in helped


def test_its_user_is_a_number(engine_cli: EngineCli, built_image: str) -> None:
    # Kubernetes cannot tell of a name whether it means root.
    found = engine_cli.run("image", "inspect", "--format", "{{.Config.User}}", built_image)
    assert found.strip() == "10001:10001"


def test_it_has_what_a_cluster_needs(engine_cli: EngineCli, built_image: str) -> None:
    code = "import kubernetes, os, psycopg; os.getuid() or exit('root')"
    engine_cli.run("run", "--rm", "--read-only", "--entrypoint=python3", built_image, "-c", code)
