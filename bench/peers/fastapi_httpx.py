"""The proxy that one writes first: FastAPI in front, httpx behind."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response

BACKEND = f"http://127.0.0.1:{os.environ['BENCH_BACKEND']}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client, and with it its connections."""
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(base_url=BACKEND, limits=limits, trust_env=False) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Pass the body on, and the answer back."""
    client: httpx.AsyncClient = app.state.client
    kind = request.headers["content-type"]
    answer = await client.post(
        "/predict", content=await request.body(), headers={"content-type": kind}
    )
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])
