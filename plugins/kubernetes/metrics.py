"""Requests in flight as ``external.metrics.k8s.io``, which HorizontalPodAutoscalers go by.

The API server passes questions on to here (an aggregated API), and proves itself with its client
certificate; nobody else gets an answer.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from longshore.core.errors import StartRefused, Unavailable
from longshore.core.types import Load, utc_now
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.labels import OWNER, WORKLOAD, object_name
from longshore.plugins.kubernetes.manifests import METRIC
from longshore.plugins.kubernetes.settings import KubernetesSettings

log = logging.getLogger(__name__)

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"
API = f"/apis/{GROUP}/{VERSION}"

EVERY = 1.0
"""Seconds between two looks at what is in flight."""

LOOKS = 15
"""How many of them an answer is the mean of, so that no instant decides."""

_FRONT = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


@dataclass(frozen=True, slots=True)
class Front:
    """How the API server proves itself to the servers behind it."""

    authority: str
    """Certificates that its own is signed by, in PEM."""
    names: frozenset[str]
    """Common names that it may have; any if empty."""


class Demand:
    """What was in flight and held of each version lately.

    Args:
        owner: id of the installation.
        read: returns what routers observe now.
    """

    def __init__(self, owner: str, read: Callable[[], Sequence[Load]]) -> None:
        self._owner = owner
        self._read = read
        self._looks: dict[str, deque[int]] = {}

    def look(self) -> None:
        """Take the next look."""
        present = {
            object_name(self._owner, each.key): each.in_flight + each.held for each in self._read()
        }
        for gone in self._looks.keys() - present.keys():
            del self._looks[gone]
        for name, count in present.items():
            self._looks.setdefault(name, deque(maxlen=LOOKS)).append(count)

    def of(self, name: str) -> float:
        """Return how many requests a version had on average; 0 for what nobody called."""
        looks = self._looks.get(name)
        return sum(looks) / len(looks) if looks else 0.0

    def total(self) -> float:
        """Return how many there are of all versions."""
        return sum(map(self.of, self._looks))


class MetricsServer:
    """Serves the demand while its context is open.

    Args:
        settings: where, and with which certificate.
        owner: id of the installation.
        front: who may ask.
        demand: the answers.
    """

    def __init__(
        self, settings: KubernetesSettings, owner: str, front: Front, demand: Demand
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._front = front
        self._demand = demand

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StartRefused: the certificate or the port cannot be had.
        """
        app = web.Application(middlewares=[self._only_the_api_server])
        app.router.add_get(API, self._resources)
        app.router.add_get(f"{API}/namespaces/{{namespace}}/{{metric}}", self._values)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await self._site(runner).start()
            log.info("metrics for autoscalers on port %s", self._settings.metrics_port)
            while True:
                self._demand.look()
                await asyncio.sleep(EVERY)
        except OSError as error:
            raise StartRefused(
                f"metrics cannot be served on {self._settings.metrics_host}:"
                f"{self._settings.metrics_port}: {error}",
                hint="Choose another metrics_port, or take the setting away.",
            ) from error
        finally:
            await runner.cleanup()

    def _site(self, runner: web.AppRunner) -> web.TCPSite:
        settings = self._settings
        context = tls_context(settings.metrics_certificate, settings.metrics_key, self._front)
        return web.TCPSite(
            runner, settings.metrics_host, settings.metrics_port, ssl_context=context
        )

    @web.middleware
    async def _only_the_api_server(
        self, request: web.Request, handler: Callable[[web.Request], object]
    ) -> web.StreamResponse:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport else None
        if self._front.names and not self._front.names.intersection(_names(certificate or {})):
            raise web.HTTPForbidden(text="only the API server may ask")
        answer: web.StreamResponse = await handler(request)  # type: ignore[misc] # aiohttp's own
        return answer

    async def _resources(self, _: web.Request) -> web.Response:
        resource = {
            "name": METRIC,
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{GROUP}/{VERSION}",
                "resources": [resource],
            }
        )

    async def _values(self, request: web.Request) -> web.Response:
        asked = _selector(request.query.get("labelSelector", ""))
        ours = asked.pop(OWNER, "") == self._owner
        if not ours or request.match_info["metric"] != METRIC:
            raise web.HTTPNotFound(text="no such metric")
        name = asked.get(WORKLOAD)
        value = self._demand.of(name) if name else self._demand.total()
        item = {
            "metricName": METRIC,
            "metricLabels": {WORKLOAD: name} if name else {},
            "timestamp": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": f"{round(value * 1000)}m",
        }
        return web.json_response(
            {
                "kind": "ExternalMetricValueList",
                "apiVersion": f"{GROUP}/{VERSION}",
                "metadata": {},
                "items": [item],
            }
        )


async def read_front(client: Client) -> Front:
    """Return how the API server proves itself.

    Raises:
        StartRefused: it does not say.
    """
    with contextlib.suppress(ApiError, Unavailable, KeyError):
        data = (await client.get(_FRONT))["data"]
        names = data.get("requestheader-allowed-names", "").strip('[]"\n ')
        listed = frozenset(each.strip().strip('"') for each in names.split(",") if each.strip())
        return Front(data["requestheader-client-ca-file"], listed)
    raise StartRefused(
        "the cluster does not say how its API server proves itself to servers behind it "
        "(the config map extension-apiserver-authentication in kube-system)",
        hint="Let Longshore read it, or take metrics_port away; Longshore then scales by itself.",
    )


def tls_context(certificate: Path | None, key: Path | None, front: Front) -> ssl.SSLContext:
    """Return how to serve: to clients alone that the API server's authority vouches for.

    Raises:
        StartRefused: the certificate or its key cannot be read.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=front.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(certificate), str(key))
    except OSError as error:
        raise StartRefused(
            f"the certificate {certificate} with its key {key} cannot be used: {error}",
            hint="metrics_certificate and metrics_key name files in PEM.",
        ) from error
    return context


def _names(certificate: Mapping[str, object]) -> set[str]:
    """Return the common names of a peer's certificate, as ``ssl`` shows it."""
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)  # noqa: S101 - so ssl promises
    return {value for part in subject for name, value in part if name == "commonName"}


def _selector(text: str) -> dict[str, str]:
    """Read the labels that an autoscaler asks for; it writes them with ``=`` alone."""
    pairs = (each.partition("=") for each in text.split(",") if each)
    return {name.strip(): value.strip() for name, _, value in pairs}
