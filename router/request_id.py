"""The outermost layer: every request has an id, and every answer tells it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longshore.core.errors import LongshoreError
from longshore.router import problems
from longshore.router.headers import request_id


class RequestId:
    """ASGI middleware that names requests, and answers for whatever nobody else caught.

    Args:
        app: what to call.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = request_id(scope["headers"])
        scope.setdefault("state", {})["request_id"] = name
        header = (b"x-request-id", name.encode())
        started = False

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Exception as error:  # noqa: BLE001 - the last resort; all of it is logged
            if isinstance(error, LongshoreError):
                problem = problems.problem_of(error)
            else:
                problem = problems.unexpected(error, name)
            # Once the head is out, an answer without an end is all that can be told.
            if not started:
                await respond(problem, name, named)


async def respond(problem: problems.Problem, request_id: str, send: Send) -> None:
    """Send a problem document as the whole answer."""
    body = problem.body(request_id)
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
