"""One machine, real parts: what a user does, and what may happen to them meanwhile."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from engine_cli import EngineCli
from parts.images import push_image
from parts.platform import Up, until
from parts.postgres import Postgres

pytestmark = pytest.mark.engine


def test_the_hand_typed_tour(up: Up, behave: str) -> None:
    registered = up.run("register", "behave", "1", behave)
    assert "ready" in registered.stdout + registered.stderr
    [model] = up.json("models")["models"]
    assert model["versions"][0]["status"]["state"] == "ready"
    assert up.run("predict", "behave", "-d", "[[5.1, 3.5]]").stdout.strip() == "[[5.1, 3.5]]"
    assert "behave listens" in up.run("logs", "behave").stdout
    assert "longshore_resolve_image" in up.run("explain", "behave:1").stdout.replace("\n", "")
    assert len(up.containers()) == 1
    up.run("delete", "behave:1")
    assert until(lambda: not up.containers())
    assert up.json("models") == {"models": []}


def test_the_engines_machine_is_inspected(up: Up) -> None:
    [known] = up.json("hardware", "report", "--cluster")["nodes"]
    node, facts = known["profile"]["node"], known["profile"]["facts"]
    assert known["backend"] == "engine"
    if node["name"] != socket.gethostname():
        pytest.skip(f"the engine is on another machine, {node['name']}")
    # Facts that no backend tells, so that the machine itself was looked at.
    assert facts["nvml_status"]["confidence"] == "exact"
    assert facts["cpu_logical"]["value"] == os.cpu_count()
    assert node["name"] in up.run("hardware", "report", "--cluster").stdout


def test_answers_say_which_version_gave_them(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    answer = up.predict("hello")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert answer.headers["x-longshore-version"] == "behave:1"
    uniform = httpx.post(f"{up.url}/v1/predict", json={"model": "behave", "features": [1, 2]})
    assert uniform.json() == {"model": "behave", "version": "1", "predictions": [1, 2]}


def test_what_runs_is_the_digest_that_the_tag_meant(
    up: Up, behave: str, engine_cli: EngineCli
) -> None:
    up.run("register", "behave", "1", behave)
    digest = up.json("show", "behave:1")["version"]["image"]["digest"]
    [container] = up.containers()
    image = json.loads(engine_cli.run("inspect", container))[0]["ImageName"]
    assert image.endswith("@" + digest)


def test_a_container_is_confined(up: Up, behave: str, engine_cli: EngineCli) -> None:
    up.run("register", "behave", "1", behave, "--memory", "256Mi", "--cpu", "0.5")
    [container] = up.containers()
    seen = json.loads(engine_cli.run("inspect", container))[0]
    host = seen["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == 256 * 2**20
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] > 0
    assert "no-new-privileges" in "".join(host["SecurityOpt"])
    assert {each["HostIp"] for each in seen["NetworkSettings"]["Ports"]["8080/tcp"]} == {
        "127.0.0.1"
    }
    capabilities = up.get("/v1/models/behave/versions/1/raw/environment")
    assert capabilities.status_code == 200
    status = Path(f"/proc/{seen['State']['Pid']}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_longshore_killed_comes_back_to_its_containers(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    before = up.containers()
    up.kill()
    assert up.containers(everything=False) == before, "models go on without Longshore"
    up.start()
    assert until(lambda: up.predict().status_code == 200, 10)
    assert up.containers() == before
    up.stop()
    assert up.containers() == []


def test_longshore_stopped_with_keep_leaves_its_containers(
    tmp_path: Path, engine_cli: EngineCli, behave: str
) -> None:
    up = Up(tmp_path, engine_cli, "--keep")
    try:
        up.start()
        up.run("register", "behave", "1", behave)
        before = up.containers()
        assert up.stop() == 0
        assert up.containers(everything=False) == before
        up.start()
        assert until(lambda: up.predict().status_code == 200, 10)
        assert up.containers() == before
    finally:
        up.clean_up()


@pytest.mark.parametrize("how", ["kill", "rm"])
def test_a_container_that_was_killed_or_removed_is_replaced(
    up: Up, behave: str, engine_cli: EngineCli, how: str
) -> None:
    up.run("register", "behave", "1", behave)
    [before] = up.containers()
    engine_cli.run(*(["kill"] if how == "kill" else ["rm", "--force"]), before)
    assert until(lambda: before not in up.containers() and up.predict().status_code == 200)
    assert len(up.containers()) == 1


def test_all_containers_removed_by_hand_come_back(
    up: Up, behave: str, engine_cli: EngineCli
) -> None:
    for number in ("1", "2", "3"):
        up.run("register", "behave", number, behave, "--env", f"NUMBER={number}")
    before = up.containers()
    assert len(before) == 3
    engine_cli.run("rm", "--force", *before)

    def served(number: str) -> bool:
        path = f"/v1/models/behave/versions/{number}/raw/health"
        return up.get(path).status_code == 200

    assert until(lambda: all(served(number) for number in ("1", "2", "3")))
    assert len(up.containers()) == 3
    assert not set(before) & set(up.containers())


def test_the_whole_platform_stands_on_postgresql_by_url(
    tmp_path: Path, engine_cli: EngineCli, behave: str, postgres: Postgres
) -> None:
    up = Up(tmp_path, engine_cli, environment={"LONGSHORE_DATABASE": postgres.new_database()})
    try:
        up.start()
        up.run("register", "behave", "1", behave)
        before = up.containers()
        up.kill()
        up.start()
        assert until(lambda: up.predict().status_code == 200, 10)
        assert up.containers() == before
        assert not list(up.state.glob("*.sqlite*")), "nothing of it is in a file"
    finally:
        up.clean_up()


READING = [
    ["models"],
    ["show", "behave:1"],
    ["explain", "behave:1"],
    ["events"],
    ["logs", "behave"],
    ["traffic", "behave"],
    ["plugins"],
]


def test_everything_that_reads_speaks_json(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    for command in READING:
        assert up.json(*command), command
    planned = up.json("register", "behave", "2", behave, "--dry-run")
    assert planned["version"]["key"] == {"name": "behave", "version": "2"}


def test_the_report_says_of_nodes_what_a_registration_does(
    up: Up, behave: str, tmp_path: Path
) -> None:
    wishes = ("--cpu", "1", "--memory", "256Mi")
    placed = up.json("register", "behave", "1", behave, *wishes, "--dry-run")["version"][
        "placement"
    ]
    folder = ("--state", str(tmp_path / "cache"))
    told = up.json("hardware", "report", behave, "--cluster", *wishes, *folder)
    assert told["plan"] == placed["plan"]
    assert placed["nodes"] == [
        {"name": each["name"], "score": each["score"]} for each in told["nodes"]
    ]
    refused = up.json("hardware", "report", behave, "--cluster", "--memory", "99Ti", *folder)
    assert {each["verdict"] for each in refused["nodes"]} == {"does not fit"}


@pytest.mark.timeout(600)
def test_a_bad_name_is_refused_with_the_rule_everywhere(up: Up) -> None:
    rule = "a model's name is a DNS label"
    for name in ("Iris", "-iris", "a" * 64, "i ris", "iris;ls", "../iris"):
        path = quote(name, safe="")
        typed = up.run("register", "--", name, "1", "localhost:5001/iris:1", check=False)
        assert (typed.returncode, rule in typed.stderr) == (2, True), typed.stderr
        shown = up.run("show", "--", name, check=False)
        assert (shown.returncode, rule in shown.stderr) == (2, True), shown.stderr
        put = httpx.put(
            f"{up.url}/api/models/{path}/versions/1", json={"image": "localhost:5001/iris:1"}
        )
        asked = httpx.post(f"{up.url}/v1/models/{path}/predict", content="1")
        uniform = httpx.post(f"{up.url}/v1/predict", json={"model": name, "features": []})
        if "/" not in name:
            # An encoded slash is one to the framework: no such call, whatever the name.
            assert (put.status_code, rule in put.text) == (422, True), put.text
            assert (asked.status_code, rule in asked.text) == (404, True), asked.text
        assert (uniform.status_code, rule in uniform.text) == (422, True), uniform.text


def test_the_engine_restarted_under_us_is_found_again(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    before = up.containers()
    if not _kill_service(up):
        pytest.skip("the engine here was not started by Longshore, so it is not ours to restart")
    assert up.predict().status_code == 200, "a warm model is served without its engine"
    up.run("register", "behave", "2", behave, "--env", "OTHER=1")
    assert up.predict().headers["x-longshore-version"] == "behave:2"
    assert before[0] in up.containers()


def _kill_service(up: Up) -> bool:
    """Kill the podman service that ``up`` started, if it did."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "system" in command and "service" in command and str(up.state) in " ".join(command):
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False


BAD_STARTS = {
    "exits at once": (["--env", "EXIT=3"], "code 3", "cannot find the model"),
    "never healthy": (["--env", "HEALTH=500", "--startup", "3"], "500", "behave listens"),
    "wrong port": (["--env", "PORT=9999"], "9999", "behave listens"),
    "out of memory": (["--env", "EAT=200", "--memory", "64Mi"], "memory", "behave starts"),
    "killed while it loads": (
        ["--env", "START_DELAY=60", "--startup", "3"],
        "3 s",
        "behave starts",
    ),
}


@pytest.mark.parametrize("case", BAD_STARTS)
def test_a_version_that_cannot_start_says_why(up: Up, behave: str, case: str) -> None:
    options, reason, last_words = BAD_STARTS[case]
    begun = time.monotonic()
    failed = up.run("register", "behave", "1", behave, *options, check=False)
    took = time.monotonic() - begun
    assert failed.returncode == 1
    told = failed.stderr + failed.stdout
    assert reason in told, told
    assert last_words in told, told
    assert took < 20
    status = up.status()
    assert reason in status["reason"]
    assert status["failures"] >= 1 or case == "wrong port"

    begun = time.monotonic()
    answer = up.predict()
    assert time.monotonic() - begun < 1, "no caller is held"
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert reason in answer.json()["detail"]


def test_an_image_that_is_not_there_is_refused_and_stores_nothing(up: Up, registry: str) -> None:
    failed = up.run("register", "nothing", "1", f"{registry}/nothing:1", check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ")
    assert "push" in failed.stderr
    assert up.json("models") == {"models": []}


def test_an_image_that_vanished_from_its_registry_fails_with_the_engines_words(
    up: Up, registry: str, engine_cli: EngineCli
) -> None:
    reference = push_image("behave", registry, "vanishing")
    up.run("register", "vanishing", "1", reference)
    up.run("sleep", "vanishing:1")
    pinned = up.json("show", "vanishing:1")["version"]["image"]
    deleted = httpx.delete(f"http://{registry}/v2/vanishing/manifests/{pinned['digest']}")
    assert deleted.status_code == 202
    assert until(lambda: not up.containers())
    engine_cli.run("rmi", "--force", f"{pinned['repository']}@{pinned['digest']}")
    failed = up.run("wake", "vanishing:1", check=False)
    assert failed.returncode == 1
    status = up.status("vanishing")
    assert status["state"] == "failed"
    assert pinned["repository"] in status["reason"]


def _plain(engine: EngineCli) -> list[str]:
    return ["--tls-verify=false"] if engine.program == "podman" else []


def test_an_image_that_writes_to_its_root_is_started_with_a_writable_one(
    up: Up, behave: str
) -> None:
    up.run("register", "behave", "1", behave, "--env", "WRITE=/usr/local/written")
    assert up.predict().status_code == 200
    assert "writ" in up.status()["reason"]


def test_a_private_registry_needs_its_login(
    tmp_path: Path, engine_cli: EngineCli, private_registry: str
) -> None:
    login = ["--username", "robot", "--password", "a-secret", private_registry]
    engine_cli.run("login", *_plain(engine_cli), *login)
    reference = push_image("behave", private_registry, "private")
    engine_cli.run("logout", private_registry)
    up = Up(tmp_path, engine_cli)
    try:
        up.start()
        refused = up.run("register", "private", "1", reference, check=False)
        assert refused.returncode == 1
        assert "registries" in refused.stderr
        up.stop()
        (tmp_path / "plugins.toml").write_text(
            f'[longshore.registries."{private_registry}"]\n'
            'username = "robot"\npassword = "a-secret"\n'
        )
        up.start()
        up.run("register", "private", "1", reference)
        assert up.predict(name="private").status_code == 200
        assert "a-secret" not in up.log.read_text()
    finally:
        up.clean_up()


def test_registering_again_is_a_no_op_and_other_content_a_conflict(up: Up, behave: str) -> None:
    up.run("register", "behave", "1", behave)
    again = up.run("register", "behave", "1", behave)
    assert "already" in again.stdout + again.stderr
    other = up.run("register", "behave", "1", behave, "--env", "A=b", check=False)
    assert other.returncode == 1
    assert "env" in other.stderr
    assert len(up.containers()) == 1


def test_two_platforms_on_one_state_directory_are_refused(
    up: Up, tmp_path: Path, engine_cli: EngineCli
) -> None:
    second = Up(tmp_path, engine_cli)
    second.state = up.state
    second.log = tmp_path / "second.log"
    with pytest.raises(AssertionError, match=r"(?i)another Longshore"):
        second.start()


EVERYWHERE = ".".join("0000")


def test_other_addresses_need_a_key(tmp_path: Path, engine_cli: EngineCli) -> None:
    with pytest.raises(AssertionError, match="LONGSHORE_API_KEY"):
        Up(tmp_path, engine_cli, "--host", EVERYWHERE).start()
    up = Up(tmp_path, engine_cli, "--host", EVERYWHERE, environment={"LONGSHORE_API_KEY": "k"})
    try:
        up.start()
        port = up.url.rpartition(":")[2].rstrip("/")
        url = f"http://127.0.0.1:{port}/api/models"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(url, headers={"authorization": "Bearer k"}).json() == {"models": []}
    finally:
        up.clean_up()
