"""The page in a real browser, in front of the real application on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from examples_of import version
from parts.browser import Tab, browser, tab
from parts.routed import Routed, routed

from longshore.core.names import VersionKey
from longshore.core.types import State, VersionStatus, Wish
from longshore.plugins import api_keys

IRIS = VersionKey("iris", "1")
HOSTILE = '<img src=x onerror="hacked=1"><script>hacked=1</script>{{nonce}}&lt;b&gt; \' " `'


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser(tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture
async def page(endpoint: str) -> AsyncIterator[Tab]:
    """A tab; in the end nothing may have failed in it that nobody caught."""
    async with tab(endpoint) as opened:
        yield opened
        assert opened.errors == []


async def register(router: Routed, name: str = "iris", number: str = "1", **spec: object) -> None:
    path = f"/api/models/{name}/versions/{number}"
    answer = await router.http.put(path, json={"image": "localhost:5001/iris:1", **spec})
    assert answer.status_code == 201, answer.text


async def converge(router: Routed) -> None:
    for _ in range(3):
        await router.controller.converge_once()
        await asyncio.sleep(0.01)


async def test_an_empty_platform_says_what_to_do(router: Routed, page: Tab) -> None:
    await page.open(router.url)
    await page.says("longshore register NAME VERSION IMAGE")


async def test_all_versions_at_a_glance_and_a_filter(router: Routed, page: Tab) -> None:
    await register(router)
    await register(router, "iris", "2")
    await register(router, "chat")
    await router.http.put("/api/models/iris/traffic", json={"weights": {"1": 9, "2": 1}})
    await converge(router)
    broken = VersionStatus(state=State.FAILED, reason="the container listens on 9999")
    await router.registry.save_status({VersionKey("chat", "1"): broken})
    await page.open(router.url)
    await page.says("3 versions")
    rows = (await page.text("#versions tbody")).split("\n")
    told = [each.split("\t") for each in rows]
    assert [each[:4] for each in told] == [
        ["chat:1", "failed", "0/0", "100.0%"],
        ["iris:1", "ready", "1/1", "90.0%"],
        ["iris:2", "ready", "1/1", "10.0%"],
    ]
    assert told[0][-1] == "the container listens on 9999"
    await page.press("/")
    await page.call("Input.insertText", text="listens")
    await page.says("1 of 3 versions", "#found")
    assert (await page.text("#versions tbody")).startswith("chat:1")
    await page.click("[data-state=ready]")
    await page.says("2 of 3 versions", "#found")
    assert await page.get("document.getElementById('filter').value") == "ready"
    await page.click("[data-state=ready]")
    await page.until("document.getElementById('found').innerText === '3 versions'")


async def test_what_changes_is_seen_without_a_click_and_focus_stays(
    router: Routed, page: Tab
) -> None:
    await register(router)
    await page.open(router.url)
    await page.says("pending", "#versions")
    await page.get("document.querySelector('#versions a').focus()")
    await page.get("window.first = document.querySelector('#versions a')")
    await converge(router)
    await register(router, "chat")
    await page.says("ready", "#versions")
    await page.says("chat:1", "#versions")
    assert await page.get("document.activeElement === first && first.isConnected")


async def test_a_version_tells_all_and_does_what_it_is_told(router: Routed, page: Tab) -> None:
    await register(router, env={"MODEL_SIZE": "small"}, scaling={"min": 0})
    await converge(router)
    await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    await page.open(router.url)
    # By keyboard alone: to the version, and to its first button.
    await page.until("Boolean(document.querySelector('#versions a'))")
    await page.get("document.querySelector('#versions a').focus()")
    await page.press("Enter", "\r")
    await page.says("Plan: no GPU, no CPU limit, no memory limit")
    assert await page.get("document.activeElement.id") == "main"
    assert await page.get("document.title") == "iris:1 - Longshore"
    everything = await page.get("document.getElementById('main').textContent")
    for each in (
        "MODEL_SIZE=small",
        "localhost:5001/iris@sha256:",
        "longshore_plan_hardware",
        " JST",
    ):
        assert each in everything

    await page.click("[data-call=sleep]")
    await page.says("Put iris:1 to sleep?", "dialog")
    await page.press("Escape")
    await page.until("!document.querySelector('dialog').open")
    assert (await router.registry.version(IRIS)).wish is Wish.RUN
    await page.click("[data-call=sleep]")
    await page.until("document.querySelector('dialog').open")
    await page.click("#yes")
    await page.says("iris:1 goes to sleep; its containers go within seconds", "#notice")
    assert (await router.registry.version(IRIS)).wish is Wish.SLEEP
    await converge(router)
    await page.says("asleep", "h1")

    await page.click("[data-call=wake]")
    await page.says("iris:1 starts.", "#notice")
    await converge(router)
    await page.says("ready", "h1")
    await page.says("at the 95th percentile")
    [wake] = await router.registry.wakes(IRIS)
    tokyo = f"{(wake.asked_at.hour + 9) % 24:02}:{wake.asked_at:%M:%S} JST: ready after"
    assert tokyo in await page.text(".ledger")

    await page.click("[data-key=events] summary")
    await page.says("woken by a user", "[data-key=events] table")
    await page.click("[data-key=log] summary")
    await page.says("log of iris:1", "[data-key=log] pre")

    await page.click("[data-click=delete]")
    await page.until("document.querySelector('dialog').open")
    await page.click("#yes")
    await page.says("iris:1 is deleted.", "#notice")
    await page.says("Nothing is registered yet")


async def test_traffic_is_shared_anew(router: Routed, page: Tab) -> None:
    await register(router)
    await register(router, "iris", "2")
    await converge(router)
    await page.open(f"{router.url}/#/models/iris/1")
    await page.says("No weights: the newest version that is ready gets all requests.")
    await page.click("[data-key=traffic] summary")
    await page.fill("[data-version='1']", "3")
    await page.fill("[data-version='2']", "1")
    await page.fill("[name=sticky]", "x-user-id")
    await asyncio.sleep(3.5)  # what was typed outlives that all is asked for anew
    await page.click("[data-submit=share] button")
    await page.says("The traffic rule is changed.", "#notice")
    rule = (await router.registry.model("iris")).traffic
    assert (dict(rule.weights), rule.sticky, rule.shadow) == ({"1": 3, "2": 1}, "x-user-id", None)
    await page.says("75.0%", "[data-key=traffic] table")
    await page.fill("[name=sticky]", " no header at all")
    await page.click("[data-submit=share] button")
    await page.says("sticky", "#notice.bad")


async def test_registering_by_a_form_that_plans_first(router: Routed, page: Tab) -> None:
    await page.open(f"{router.url}/#/register")
    await page.fill("[name=name]", "iris")
    await page.fill("[name=version]", "1")
    await page.fill("[name=image]", "localhost:5001/large:1")
    await page.fill("[name='scaling.min']", "0")
    await page.fill("[name='resources.memory']", "512Mi")
    await page.fill("[name=env]", "A=b=c\n\nD=")
    await page.click("[value=plan]")
    await page.says("Rename it.", "output")
    await page.get("document.querySelector('[name=image]').value = ''")
    await page.fill("[name=image]", "localhost:5001/iris:1")
    await page.click("[value=plan]")
    await page.says("Plan: no GPU", "output")
    assert not await router.registry.models()
    await page.click("[value=register]")
    await page.says("iris:1 is registered.", "#notice")
    await page.says("iris:1", "h1")
    spec = (await router.registry.version(IRIS)).version.spec
    assert dict(spec.env) == {"A": "b=c", "D": ""}
    assert (spec.scaling.min, spec.scaling.max, spec.resources.memory) == (0, 1, "512Mi")


async def test_nothing_of_others_becomes_html(router: Routed, page: Tab) -> None:
    await register(router, image=f"host/{HOSTILE}", env={"A": HOSTILE})
    status = VersionStatus(
        state=State.FAILED,
        reason=HOSTILE,
        hint=HOSTILE,
        log_tail=(HOSTILE, "</pre>" + HOSTILE),
        exit_code=137,
    )
    await router.registry.save_status({IRIS: status})
    await page.open(router.url)
    await page.says(HOSTILE, "#versions")
    assert (await page.text("#versions")).count(HOSTILE) == 2
    await page.get("location.hash = '#/models/iris/1'")
    await page.says(HOSTILE, "pre")
    assert (await page.text(".why")).count(HOSTILE) == 4
    assert (await page.text(".glance")).endswith("Exit code\n137")
    name = HOSTILE.replace("/", "")
    for fragment in (f"#/models/{name}/1", f"#/models/iris/{name}", "#/models/%/%zz"):
        await page.get(f"location.hash = {json.dumps(fragment)}")
        await page.says("All models", "main")
        assert await page.text("#trouble")
        await page.get("location.hash = '#/'")
        await page.says("1 version")
    assert not await page.get("document.querySelectorAll('img, main script').length")
    assert await page.get("typeof hacked") == "undefined"


async def test_the_policy_holds_even_where_the_page_would_not(router: Routed, page: Tab) -> None:
    await page.open(router.url)
    await page.says("longshore register")
    refused = await page.get("""(() => {
      try { document.body.innerHTML = "<b>x</b>"; return ""; } catch (error) { return error.name; }
    })()""")
    assert refused == "TypeError"
    await page.get("""{
      const added = document.createElement("style");
      added.textContent = "main { display: none }";
      document.head.append(added);
    }""")
    assert await page.get("getComputedStyle(document.getElementById('main')).display") == "block"
    forbidden = [each for each in page.errors if "action has been blocked" in each]
    assert len(forbidden) == len(page.errors) == 2
    page.errors.clear()


async def test_two_thousand_versions_do_not_freeze_it(router: Routed, page: Tab) -> None:
    for number in range(2000):
        await router.registry.add_version(version(f"model-{number % 500:03}", str(number)), [])
    await page.open(router.url)
    await page.says("2,000 versions", within=60)
    await page.get("""
      window.longest = 0;
      new PerformanceObserver((list) => {
        for (const each of list.getEntries()) longest = Math.max(longest, each.duration);
      }).observe({ type: "longtask" });
    """)
    assert await page.get("document.querySelectorAll('#versions tbody tr').length") == 200
    await page.click("[data-click=more]")
    await page.until("document.querySelectorAll('#versions tbody tr').length === 400")
    await page.fill("#filter", "model-499")
    await page.says("4 of 2,000 versions", "#found")
    assert await page.get("document.querySelectorAll('#versions tbody tr').length") == 4
    await asyncio.sleep(4)
    assert await page.get("longest") < 1000


async def test_a_key_is_asked_for_and_kept_in_this_tab_alone(
    state: Path, page: Tab, endpoint: str
) -> None:
    async with routed(state, api_keys.Plugin(), api_key="secret") as router:
        await router.registry.add_version(version(), [])
        await page.open(router.url)
        await page.says("This platform asks for a key.")
        assert "iris" not in await page.text()
        await page.fill("#key", "wrong")
        await page.press("Enter", "\r")
        await page.says("The key is not accepted")
        await page.fill("#key", "secret")
        await page.press("Enter", "\r")
        await page.says("iris:1")
        assert not await page.get("!document.getElementById('ask').hidden")
        assert await page.get("[localStorage.length, document.cookie]") == [0, ""]
        assert await page.get("Object.values(sessionStorage)") == ["secret"]
        await page.call("Page.reload")
        await page.says("iris:1")
        async with tab(endpoint) as other:
            await other.open(router.url)
            await other.says("This platform asks for a key.")
        await page.get("sessionStorage.setItem(Object.keys(sessionStorage)[0], 'withdrawn')")
        await page.says("The key is not accepted")
        assert "iris" not in await page.text(), "what was shown is gone with the key"


async def test_it_says_when_the_platform_is_gone_and_goes_on_when_it_is_back(
    state: Path, page: Tab
) -> None:
    async with AsyncExitStack() as first:
        router = await first.enter_async_context(routed(state))
        await router.registry.add_version(version(), [])
        await page.open(router.url)
        await page.says("iris:1")
        port = router.port
    await page.says("The platform does not answer", "#trouble")
    assert "What is below is as of" in await page.text("#trouble")
    assert "iris:1" in await page.text("#versions"), "what was known stays, and is marked as old"
    assert await page.get("document.body.classList.contains('stale')")
    async with routed(state, port=port):
        await page.until("document.getElementById('trouble').hidden", within=30)
        assert not await page.get("document.body.classList.contains('stale')")


async def test_a_part_that_does_not_come_is_asked_for_again(router: Routed, page: Tab) -> None:
    await page.call("Network.setBlockedURLs", urls=["*/static/version.js"])
    await page.open(router.url)
    await page.says("A part of the page did not come.", "main")
    await page.call("Network.setBlockedURLs", urls=["*/static/page.css"])
    await page.says("longshore register")
    styled = "getComputedStyle(document.body).maxWidth !== 'none'"
    assert not await page.get(styled)
    await page.call("Network.setBlockedURLs", urls=[])
    await page.until(styled)


async def test_an_answer_of_another_release_is_told_of_as_such(router: Routed, page: Tab) -> None:
    await register(router)
    await page.open(router.url)
    await page.says("iris:1")
    await page.get("window.fetch = async () => new Response('{\"total\": 1}')")
    await page.says("Reload the page.", "#trouble")
    assert "iris:1" in await page.text("#versions")
    await page.get("window.fetch = async () => new Response('<h1>', { status: 502 })")
    await page.says("The platform answered with status 502.", "#trouble")


async def test_nobody_is_asked_while_nobody_looks(router: Routed, page: Tab) -> None:
    await page.open(router.url)
    await page.says("longshore register")
    hide = """
      Object.defineProperty(document, "hidden", { value: %s, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    """
    counted = (
        "performance.getEntriesByType('resource').filter(e => e.name.includes('/api/')).length"
    )
    await page.get(hide % "true")
    await asyncio.sleep(0.5)
    before = await page.get(counted)
    await asyncio.sleep(4)
    assert await page.get(counted) == before
    await page.get(hide % "false")
    await page.until(f"{counted} > {before}", within=2)


@pytest.mark.parametrize("width", [360, 390, 768])
async def test_it_fits_a_small_screen(router: Routed, page: Tab, width: int) -> None:
    await register(router, image="registry.example.com/" + "long/" * 30 + "iris:1")
    await page.size(width, 740)
    for fragment, text in (
        ("", "iris:1"),
        ("models/iris/1", "Traffic of iris"),
        ("nodes", "here"),
        ("events", "registered"),
        ("register", "Only plan"),
    ):
        await page.open(f"{router.url}/#/{fragment}")
        await page.says(text)
        await page.get("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        sticking_out = """(() => [...document.querySelectorAll("body *")]
          .filter((each) => each.checkVisibility() && !each.closest("caption, .unseen"))
          .filter((each) => each.getBoundingClientRect().right > document.body.clientWidth)
          .map((each) => `${each.tagName} ${each.className} ${each.textContent.slice(0, 40)}`))()"""
        assert await page.get(sticking_out) == [], fragment


@pytest.mark.parametrize("dark", [False, True])
async def test_all_text_can_be_read(router: Routed, page: Tab, dark: bool) -> None:
    for number, state in enumerate(State):
        await register(router, "iris", str(number))
        status = VersionStatus(state=state, reason="a reason", hint="a hint", log_tail=("a line",))
        await router.registry.save_status({VersionKey("iris", str(number)): status})
    if dark:
        await page.dark()
    for fragment, text in (("", "7 versions"), ("models/iris/4", "a hint"), ("register", "plan")):
        await page.open(f"{router.url}/#/{fragment}")
        await page.says(text)
        await asyncio.sleep(0.3)
        poor = await page.get(CONTRASTS)
        assert poor == [], fragment


CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, place) => sum + each * [0.2126, 0.7152, 0.0722][place], 0);
  function behind(element) {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  }
  const poor = [];
  for (const each of document.querySelectorAll("body *")) {
    const text = [...each.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!text || !each.checkVisibility()) continue;
    const [one, other] = [light(parts(getComputedStyle(each).color)), light(behind(each))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) poor.push(`${each.tagName} ${each.className} ${ratio.toFixed(2)}`);
  }
  return poor;
})()"""
"""What has less contrast than WCAG's level AA asks for."""
