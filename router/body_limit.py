"""A bound for bodies that are held whole; those that are relayed are counted by the relay."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longshore.router.errors import BodyTooLarge
from longshore.router.headers import content_length

RELAYED = "/v1/models/"

HINT = f"Larger bodies go to POST {RELAYED}NAME/predict, which streams them."


class BodyLimit:
    """ASGI middleware that refuses larger bodies as soon as that is known.

    Args:
        app: what to call.
        most: largest body in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request.

        Raises:
            BodyTooLarge: its body is.
        """
        if scope["type"] != "http" or scope["path"].startswith(RELAYED):
            await self._app(scope, receive, send)
            return
        if (content_length(scope["headers"]) or 0) > self._most:
            raise BodyTooLarge(self._most, HINT)
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise BodyTooLarge(self._most, HINT)
            return message

        await self._app(scope, counted, send)
