"""The web page in a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest
from parts.platform import Up

pytestmark = pytest.mark.engine

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def shown(url: str, profile: Path) -> str:
    """Return the page's document as the browser has it after its scripts ran for a while."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("a browser is missing: apt-get install chromium")
    options = [*QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, url], capture_output=True, text=True, timeout=90, check=True
    )
    return done.stdout


def test_the_page_shows_models_and_what_is_wrong_with_them(
    up: Up, behave: str, tmp_path: Path
) -> None:
    up.run("register", "behave", "1", behave)
    # It stays as it is; one that exits would be starting again every now and then.
    up.run("register", "broken", "1", behave, "--env", "PORT=9999", check=False)
    up.run("traffic", "behave", "1=7", "--sticky", "x-user-id")
    up.run("traffic", "broken", "--shadow", "1=50")
    page = shown(up.url, tmp_path / "profile")
    assert '<td class="number">7 by x-user-id</td>' in page
    assert '<td class="number">shadow of 50%</td>' in page
    assert '<td class="ready">ready</td>' in page
    assert '<td class="failed">failed</td>' in page
    assert "the container listens on 9999" in page
    assert "<pre>behave starts\nbehave listens</pre>" in page
    assert '<p id="trouble" role="alert" hidden=""></p>' in page, page


def test_an_empty_platform_says_what_to_do(up: Up, tmp_path: Path) -> None:
    assert "longshore register NAME VERSION IMAGE" in shown(up.url, tmp_path / "profile")
