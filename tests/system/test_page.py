"""The web page in a real browser, of a platform that runs real containers."""

from pathlib import Path

import pytest
from parts.browser import browser, tab
from parts.platform import Up

pytestmark = pytest.mark.engine


async def test_the_page_shows_models_and_what_is_wrong_with_them(
    up: Up, behave: str, tmp_path: Path
) -> None:
    up.run("register", "behave", "1", behave)
    # It stays as it is; one that exits would be starting again every now and then.
    up.run("register", "broken", "1", behave, "--env", "PORT=9999", check=False)
    up.run("traffic", "behave", "1=7", "--sticky", "x-user-id")
    up.run("traffic", "broken", "--shadow", "1=50")
    assert up.predict().status_code == 200
    with browser(tmp_path / "profile") as endpoint:
        async with tab(endpoint) as page:
            await page.open(up.url)
            await page.says("2 versions")
            rows = (await page.text("#versions tbody")).split("\n")
            served, broken = (each.split("\t") for each in rows)
            assert served[:4] == ["behave:1", "ready", "1/1", "100.0%"]
            assert served[5].endswith(" ago")
            assert broken[:2] == ["broken:1", "failed"]
            assert broken[3] == "100.0%, copies of 50%"
            assert "the container listens on 9999" in broken[-1]

            await page.open(f"{up.url}/#/models/broken/1")
            await page.says("behave starts\nbehave listens", ".why pre")
            await page.says("Shadow: a copy of 50% goes to version 1")

            await page.open(f"{up.url}/#/models/behave/1")
            await page.says("Sticky: requests with the same x-user-id get the same version.")
            await page.click("[data-key=log] summary")
            await page.says("behave listens", "[data-key=log] pre")
            await page.click("[data-call=sleep]")
            await page.until("document.querySelector('dialog').open")
            await page.click("#yes")
            await page.says("asleep", "h1", within=30)
            assert up.predict().headers["x-longshore-cold-start"]
            await page.says("ready", "h1")
            await page.says("at the 95th percentile", ".ledger")

            await page.open(f"{up.url}/#/nodes")
            await page.says("ARCHITECTURE")
            assert page.errors == []
