"""A real browser, driven over its own debugging protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def browser(profile: Path) -> Iterator[str]:
    """Run a browser; yield where it is driven from."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("a browser is missing: apt-get install chromium")
    log = profile.with_suffix(".log")
    command = [program, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    with log.open("w") as output:
        process = subprocess.Popen([*command, "about:blank"], stderr=output, stdout=output)
    try:
        deadline = time.monotonic() + 60
        while "DevTools listening on " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield log.read_text().partition("DevTools listening on ")[2].split()[0]
    finally:
        process.terminate()
        process.wait(30)


class Tab:
    """A tab with a session of its own.

    Attributes:
        errors: what its scripts did not catch, and what its policy forbade.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = ""
        self.errors: list[str] = []

    async def begin(self) -> None:
        context = await self.call("Target.createBrowserContext", disposeOnDetach=True)
        made = await self.call(
            "Target.createTarget", url="about:blank", browserContextId=context["browserContextId"]
        )
        target = made["targetId"]
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.size(1280, 900)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send(json.dumps(message))
        return await asyncio.wait_for(answer, 30)

    async def listen(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if future := self._answers.pop(message.get("id", 0), None):
                if "error" in message:
                    future.set_exception(AssertionError(message["error"]))
                else:
                    future.set_result(message["result"])
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
            elif message["method"] == "Log.entryAdded":
                entry = message["params"]["entry"]
                # That a request got a refusal is told there, too.
                if entry["level"] == "error" and entry["source"] != "network":
                    self.errors.append(entry["text"])

    async def open(self, url: str) -> None:
        """Go there."""
        await self.call("Page.navigate", url=url)

    async def get(self, expression: str) -> Any:
        """Return what an expression is, as JSON has it."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str, within: float = 15) -> Any:
        """Return what an expression is once that is true."""
        deadline = time.monotonic() + within
        while True:
            # While a page is being left, nothing can be asked.
            with suppress(AssertionError):
                if found := await self.get(expression):
                    return found
            assert time.monotonic() < deadline, f"{expression}\n{await self.text()}\n{self.errors}"
            await asyncio.sleep(0.05)

    async def text(self, selector: str = "body") -> str:
        """Return the text of an element, as it is seen; empty where there is none."""
        return str(await self.get(f"document.querySelector({selector!r})?.innerText ?? ''"))

    async def says(self, text: str, selector: str = "body", within: float = 15) -> None:
        """Wait until an element has a text."""
        quoted = json.dumps(text)
        await self.until(
            f"document.querySelector({selector!r})?.innerText.includes({quoted})", within
        )

    async def click(self, selector: str) -> None:
        """Click an element, once it is there."""
        await self.until(f"Boolean(document.querySelector({selector!r}))")
        await self.get(f"document.querySelector({selector!r}).click()")

    async def fill(self, selector: str, text: str) -> None:
        """Type into an empty control."""
        await self.until(f"Boolean(document.querySelector({selector!r}))")
        await self.get(f"document.querySelector({selector!r}).focus()")
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, text: str = "") -> None:
        """Press a key, where the focus is."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        known: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0]))}
        if text:
            known["text"] = text
        await self.call("Input.dispatchKeyEvent", type="keyDown", **known)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    async def size(self, width: int, height: int) -> None:
        """Be so large."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def dark(self) -> None:
        """Prefer dark colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark"}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def picture(self) -> bytes:
        """Return what is to be seen, as PNG, for those who change how it looks."""
        taken = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(taken["data"])


@asynccontextmanager
async def tab(endpoint: str) -> AsyncIterator[Tab]:
    """Open a tab of a browser, which knows nothing of others."""
    async with connect(endpoint, max_size=None, compression=None) as socket:
        opened = Tab(socket)
        listening = asyncio.ensure_future(opened.listen())
        try:
            await opened.begin()
            yield opened
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
