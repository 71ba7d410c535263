"""The same fixed answer as a Ray Serve deployment; run by a Python that has ``ray[serve]``.

Arguments: port, answer. It runs until its standard input ends.
"""

# mypy: disable-error-code="import-not-found"
# Ray has an environment of its own, which is not the one that the types are checked in.

import sys

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


class Model:
    """Reads the body, and gives the same answer to all."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        await request.body()
        return Response(self._answer, media_type="application/json")


if __name__ == "__main__":
    port, answer = int(sys.argv[1]), sys.argv[2]
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port, "access_log": False})
        deployment = serve.deployment(num_replicas=1, max_ongoing_requests=256)(Model)
        serve.run(deployment.bind(answer), route_prefix="/predict")
        sys.stdin.read()
    finally:
        serve.shutdown()
        ray.shutdown()
