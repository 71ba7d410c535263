"""The page's parts and what they ask for, over HTTP; the same in a browser is beside this."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from parts.cli_program import PROGRAM, environment
from parts.routed import Routed, routed

from longshore.core.names import VersionKey
from longshore.core.types import Collected, Shadow, State, TrafficRule, VersionStatus, utc_now
from longshore.core.words.text import moment
from longshore.plugins import api_keys

IRIS = VersionKey("iris", "1")
SPEC = {"image": "localhost:5001/iris:1"}
AROUND = {"show": r": ", "explain": r" by |, (?=\d{4}-)", "events": r"  +"}
"""What stands between things that are apart on the page."""
RULE = TrafficRule(weights={"1": 9, "2": 1}, shadow=Shadow(version="2", percent=25))


async def register(router: Routed, name: str = "iris", number: str = "1", **spec: Any) -> None:
    path = f"/api/models/{name}/versions/{number}"
    answer = await router.http.put(path, json={**SPEC, **spec})
    assert answer.status_code == 201, answer.text


async def overview(router: Routed, **query: str) -> dict[str, Any]:
    answer = await router.http.get("/api/page/overview", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(router: Routed, zone: str = "UTC") -> dict[str, Any]:
    answer = await router.http.get("/api/page/models/iris/versions/1", params={"zone": zone})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def printed_by(*arguments: str, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, check=True, env=dict(variables)
    )
    return done.stdout


@pytest.fixture
async def locked(state: Path) -> AsyncIterator[Routed]:
    async with routed(state, api_keys.Plugin(), api_key="secret") as running:
        yield running


async def test_what_the_document_names_is_there_and_nothing_is_of_elsewhere(
    router: Routed,
) -> None:
    page = await router.http.get("/")
    names = re.findall(r"/static/[^\"]+", page.text)
    assert len(names) == 3
    seen = set(names)
    while names:
        part = await router.http.get(names.pop())
        assert part.status_code == 200, part.url
        assert part.headers["x-content-type-options"] == "nosniff"
        imported = {f"/static/{each}" for each in re.findall(r"from \"\./([^\"]+)\"", part.text)}
        names += imported - seen
        seen |= imported
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", part.text
        )
    folder = Path(__file__).parents[2] / "router" / "static"
    assert seen == {f"/static/{each.name}" for each in folder.iterdir()} - {"/static/index.html"}


async def test_a_part_that_a_browser_has_is_not_sent_again(router: Routed) -> None:
    first = await router.http.get("/static/main.js")
    tag = first.headers["etag"]
    again = await router.http.get("/static/main.js", headers={"if-none-match": f'"x", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await router.http.get("/static/main.js", headers={"if-none-match": '"x"'})
    assert other.content == first.content


@pytest.mark.parametrize(
    "path", ["index.html", "..%2Fpage.py", "../page.py", "%2Fetc%2Fpasswd", "none.js", ""]
)
async def test_there_is_no_other_file(router: Routed, path: str) -> None:
    assert (await router.http.get(f"/static/{path}")).status_code == 404


async def test_each_answer_has_a_nonce_of_its_own(router: Routed) -> None:
    nonces = set()
    for _ in range(3):
        page = await router.http.get("/")
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        [nonce] = set(re.findall(r"nonce-([\w-]+)'", policy))
        assert page.text.count(f'nonce="{nonce}"') == 3
        assert "{{" not in page.text
        nonces.add(nonce)
    assert len(nonces) == 3


@pytest.mark.parametrize("path", ["overview", "models/iris/versions/1", "nodes", "events"])
async def test_parts_need_no_key_and_what_they_show_does(locked: Routed, path: str) -> None:
    assert (await locked.http.get("/static/main.js")).status_code == 200
    assert (await locked.http.get(f"/api/page/{path}")).status_code == 401
    key = {"authorization": "Bearer secret"}
    assert (await locked.http.get(f"/api/page/{path}", headers=key)).status_code in {200, 404}


@pytest.mark.parametrize(
    "path", [b"/static/../api/models", b"/static/%2e%2e/api/models", b"/static//api/models"]
)
async def test_no_way_leads_from_the_parts_to_what_needs_a_key(locked: Routed, path: bytes) -> None:
    head = b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n" % path
    reader, _ = await locked.raw(head)
    status = (await reader.read()).split(b" ", 2)[1]
    assert status in {b"401", b"404"}


async def test_versions_are_found_by_what_is_told_of_them(router: Routed) -> None:
    await register(router)
    await register(router, "iris", "2")
    await register(router, "chat", image="registry.example.com/talk:1")
    failed = VersionStatus(state=State.FAILED, reason="Out of memory")
    await router.registry.save_status({VersionKey("iris", "2"): failed})

    async def names(text: str) -> list[str]:
        found = await overview(router, filter=text)
        assert (found["total"], found["found"]) == (3, len(found["rows"]))
        return [f"{each['model']}:{each['version']}" for each in found["rows"]]

    assert await names("") == ["chat:1", "iris:1", "iris:2"]
    assert await names("IRIS") == ["iris:1", "iris:2"]
    assert await names("iris memory") == ["iris:2"]
    assert await names("failed") == ["iris:2"]
    assert await names("example.com/talk") == ["chat:1"]
    assert await names("nothing") == []
    first = await overview(router, limit="1")
    assert (first["found"], len(first["rows"])) == (3, 1)
    assert first["states"] == {"pending": 2, "failed": 1}


async def test_a_row_tells_what_the_version_carries_and_of_which_share(router: Routed) -> None:
    await register(router)
    await register(router, "iris", "2")
    await router.platform.set_traffic("iris", RULE)
    for _ in range(2):
        await router.controller.converge_once()
    one = router.table.version("iris", "1")
    one.meter.in_flight = 3
    one.meter.arrived(router.table.clock())
    first, second = (await overview(router))["rows"]
    assert (first["share"], first["load"], first["called"]) == (
        "90.0%",
        "3 in flight, 0.0167/s",
        "0 s ago",
    )
    assert (second["share"], second["load"], second["called"]) == ("10.0%, copies of 25%", "", "")
    assert first["ready"] == "1/1"


async def test_the_page_says_what_the_command_line_says(router: Routed) -> None:
    await register(router, env={"MODEL_SIZE": "small"}, scaling={"min": 0, "max": 3})
    await router.platform.sleep(IRIS)
    await router.platform.wake(IRIS)
    for _ in range(2):
        await router.controller.converge_once()
    told = await shown(router, "Asia/Tokyo")
    text = json.dumps(told, ensure_ascii=False)
    variables = environment(router.url, TZ="Asia/Tokyo")
    for command in ("show", "explain", "events"):
        printed = await asyncio.to_thread(printed_by, command, "iris:1", variables=variables)
        lines = printed.splitlines()[1:] if command == "show" else printed.splitlines()
        assert len(lines) > (2 if command == "events" else 10)
        for line in lines:
            said = re.sub(r"^ *\d+\. |^ *(?:from|why): ", "", line).strip()
            for part in re.split(AROUND[command], said):
                assert json.dumps(part, ensure_ascii=False)[1:-1] in text, line


async def test_what_makes_no_difference_is_not_offered(router: Routed) -> None:
    await register(router)
    await router.controller.converge_once()
    assert (await shown(router))["can"] == ["sleep", "pin", "delete"]
    await router.platform.sleep(IRIS)
    await router.platform.pin(IRIS, pinned=True)
    assert (await shown(router))["can"] == ["wake", "unpin", "delete"]
    await router.platform.pin(IRIS, pinned=False)
    collected = Collected(at=utc_now(), why="a test")
    await router.platform._registry.collect(IRIS, collected)  # noqa: SLF001
    assert (await shown(router))["can"] == ["wake", "delete"]


async def test_decisions_are_dated_by_the_readers_clock(router: Routed) -> None:
    await register(router)
    await router.platform.sleep(IRIS)
    slept = (await router.registry.decisions(IRIS))[-1]
    told = (await shown(router, "Asia/Tokyo"))["decisions"][-1]
    assert (told["hook"], told["plugin"]) == ("wish", "user")
    assert told["when"] == moment(slept.at, ZoneInfo("Asia/Tokyo"))
    assert told["when"].endswith(" JST")


async def test_an_unknown_clock_is_no_reason_to_tell_nothing(router: Routed) -> None:
    await register(router)
    for zone in ("Nowhere/Land", "../etc/passwd", "x" * 64, ""):
        assert (await shown(router, zone))["content"] == (await shown(router))["content"]


async def test_text_of_others_is_harmless(router: Routed) -> None:
    await register(router, env={"A": "x\u202ey\x1b[31mz"})
    status = VersionStatus(
        state=State.FAILED,
        reason="bad\u2066 \x1b]0;title\x07thing",
        log_tail=("a\x00b",),
        retry_at=utc_now() + timedelta(seconds=9),
    )
    await router.registry.save_status({IRIS: status})
    told = await shown(router)
    assert (told["why"], told["log_tail"]) == ("bad thing", ["ab"])
    assert not re.search(r"[\x00-\x08\x1b\u202e\u2066]", json.dumps(told, ensure_ascii=False))
    [row] = (await overview(router))["rows"]
    assert row["why"] == "bad thing"


async def test_what_registering_would_plan_is_told_and_nothing_stored(router: Routed) -> None:
    path = "/api/page/models/iris/versions/1/preflight"
    plan = (await router.http.post(path, json=SPEC)).json()
    assert plan["plan"][0].startswith("Plan: no GPU, no CPU limit")
    refused = await router.http.post(path, json={"image": "large"})
    assert (refused.status_code, refused.json()["hint"]) == (422, "Rename it.")
    assert (await overview(router))["total"] == 0


async def test_nodes_are_told_as_the_report_tells_them(router: Routed) -> None:
    told = (await router.http.get("/api/page/nodes")).json()
    assert told["headings"][:2] == ["NODE", "BACKEND"]
    assert told["rows"] == [["here", "engine", "amd64", "2", "4 GiB", "-", "-", "-"]]
    [node] = told["nodes"]
    assert (node["name"], node["backend"], node["facts"]) == ("here", "engine", [])
