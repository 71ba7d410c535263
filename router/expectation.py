"""``Expect: 100-continue``: a body that was never asked for must not pass for the next request."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Expectation:
    """ASGI middleware that ends the connection of a client that waits to be asked for its body.

    An answer that comes first leaves open whether the body follows it (RFC 9110 section 10.1.1),
    and then nobody could tell it from the next request.

    Args:
        app: what to call.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not any(name == b"expect" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        asked = False

        async def asks() -> Message:
            nonlocal asked
            asked = True
            return await receive()

        async def ends(message: Message) -> None:
            if message["type"] == "http.response.start" and not asked:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, asks, ends)
