"""The proxy without a framework: a bare ASGI application in front, aiohttp's client behind."""

import os

import aiohttp
from starlette.types import Receive, Scope, Send

BACKEND = f"http://127.0.0.1:{os.environ['BENCH_BACKEND']}/predict"


class Proxy:
    """Passes every call on to the backend's predict path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the start, the end, or one request."""
        if scope["type"] == "lifespan":
            await receive()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as client:
                self._client = client
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {"content-type": dict(scope["headers"])[b"content-type"].decode()}
        async with self._client.post(BACKEND, data=bytes(body), headers=headers) as answer:
            content = await answer.read()
            kept = [(b"content-type", answer.content_type.encode())]
            kept.append((b"content-length", b"%d" % len(content)))
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        await send({"type": "http.response.body", "body": content})


app = Proxy()
