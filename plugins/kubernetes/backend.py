"""The ``Backend`` on a Kubernetes cluster."""

import contextlib
import logging
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass

from longshore.core.backends.hints import Hints
from longshore.core.backends.lines import Line
from longshore.core.backends.locks import Locks
from longshore.core.backends.logs import Containers, log_of
from longshore.core.background import Tasks
from longshore.core.errors import (
    LongshoreError,
    StartRefused,
    Unavailable,
    WorkloadFailed,
)
from longshore.core.measures import ReplicaUse
from longshore.core.names import VersionKey
from longshore.core.settings import Settings
from longshore.core.types import (
    Endpoint,
    Evidence,
    Load,
    Node,
    NodeReport,
    Version,
    Workload,
    WorkloadStatus,
)
from longshore.plugins.kubernetes.applying import Applier
from longshore.plugins.kubernetes.autoscaling import Autoscaling
from longshore.plugins.kubernetes.client import ApiError, Client
from longshore.plugins.kubernetes.cluster import Cluster
from longshore.plugins.kubernetes.connect import Connector
from longshore.plugins.kubernetes.kinds import (
    AUTOSCALER,
    BUDGET,
    CLAIM_TEMPLATE,
    DEPLOYMENT,
    LEASE,
    POD,
    POLICY,
    SERVICE,
    SLICE,
    Kind,
)
from longshore.plugins.kubernetes.labels import OWNER, object_name
from longshore.plugins.kubernetes.logs import follow as follow_log
from longshore.plugins.kubernetes.logs import past
from longshore.plugins.kubernetes.metrics import (
    Demand,
    Front,
    MetricsServer,
    read_front,
    tls_context,
)
from longshore.plugins.kubernetes.node_list import Nodes
from longshore.plugins.kubernetes.node_reports import NodeReports, lease_of
from longshore.plugins.kubernetes.pulling import Puller
from longshore.plugins.kubernetes.reading import Reading
from longshore.plugins.kubernetes.reasons import container_status, refusal
from longshore.plugins.kubernetes.replicas import Replicas
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.statuses import key_of, status_of
from longshore.plugins.kubernetes.usage import is_ready, uses
from longshore.plugins.kubernetes.watch import Cache, synced

log = logging.getLogger(__name__)

WATCHED = (DEPLOYMENT, POD, SLICE, SERVICE, AUTOSCALER, BUDGET, POLICY)
VITAL = (DEPLOYMENT, POD, SLICE)
"""Without these nothing can be said about replicas."""

OPTIONAL = (CLAIM_TEMPLATE,)
"""A cluster may not serve these; versions that need none run all the same."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What there is between ``open`` and ``close``."""

    cluster: Cluster
    replicas: Replicas
    applier: Applier
    puller: Puller
    nodes: Nodes


class KubernetesBackend:
    """Runs replicas as pods of Deployments.

    Args:
        settings: the platform's.
        own: the plugin's.
        environment: the process's variables, which may name a cluster.
    """

    name = "kubernetes"

    def __init__(
        self, settings: Settings, own: KubernetesSettings, *, environment: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._own = own
        self._environment = environment
        self._hints = Hints()
        self._locks = Locks()
        self._tasks = Tasks()
        self._opened: _Opened | None = None
        self._front: Front | None = None
        self._described = "no cluster yet"
        self._leads: Callable[[], bool] = lambda: True
        self._reading: Reading | None = None
        self._reporting: Client | None = None

    async def open(self, installation: str) -> None:
        """Find the cluster, and look at everything of this installation in it."""
        kinds = (*WATCHED, *(OPTIONAL if self._own.claims_gpus else ()))
        client, caches = await self._connect(installation, kinds)
        cluster = Cluster(
            owner=installation,
            client=client,
            caches=caches,
            hints=self._hints,
            settings=self._own,
            logins=self._settings.registries,
        )
        replicas = Replicas(cluster)
        autoscaling = Autoscaling(cluster)
        applier = Applier(cluster, replicas, autoscaling)
        puller = Puller(cluster, self._acts)
        # Nobody waits for them: without the right to read them, nodes are known by their labels.
        reports = NodeReports(client)
        self._tasks.spawn(reports.run(), "reports of nodes")
        nodes = Nodes(client, reports, claims_gpus=self._own.claims_gpus)
        self._opened = _Opened(cluster, replicas, applier, puller, nodes)
        self._tasks.spawn(puller.run(), "pull images ahead")
        self._tasks.spawn(autoscaling.follow_metrics(), "metrics API")
        if self._own.metrics_port:
            self._front = await read_front(client)
            # Wrong files are to stop the start.
            tls_context(self._own.metrics_certificate, self._own.metrics_key, self._front)

    async def open_to_read(self, installation: str) -> None:
        """Find the cluster, and look at where the pods of this installation are."""
        client, caches = await self._connect(installation, (SLICE,))
        self._reading = Reading(installation, client, caches[SLICE], self._hints)

    async def open_to_report(self) -> None:
        """Get ready to find the cluster; whether it answers, the first report shows."""
        self._reporting = Client(Connector(self._own, self._environment), self._own.namespace)

    async def report(self, node: str, report: NodeReport) -> None:
        """Keep what was found on a node in the cluster, for as long as this pod is there."""
        if self._reporting is None:
            raise Unavailable("the kubernetes backend is not open")
        pod = tuple(self._environment.get(each, "") for each in ("POD_NAME", "POD_UID"))
        lease = lease_of(node, report, (pod[0], pod[1]) if all(pod) else None)
        with _refused(Unavailable):
            await self._reporting.apply(LEASE, lease)

    async def endpoints(
        self, versions: Sequence[Version]
    ) -> Mapping[VersionKey, tuple[Endpoint, ...]]:
        """Return the pods that EndpointSlices say are ready."""
        if self._reading is None:
            raise Unavailable("the kubernetes backend is not open")
        return self._reading.endpoints(versions)

    def act_only_while(self, leads: Callable[[], bool]) -> None:
        """Start pods again with a writable root only while this process leads."""
        self._leads = leads

    def expect(self, workloads: Sequence[Workload]) -> None:
        """Pull the images of these versions ahead, if that is set."""
        self._ready.puller.expect(workloads)

    def _acts(self) -> bool:
        return self._leads()

    async def _connect(
        self, installation: str, kinds: Iterable[Kind]
    ) -> tuple[Client, Mapping[Kind, Cache]]:
        """Return a client, and caches that have seen everything of this installation.

        Raises:
            StartRefused: there is no cluster, or it does not let us.
        """
        connector = Connector(self._own, self._environment)
        client = Client(connector, self._own.namespace)
        try:
            version = (await client.get("/version"))["gitVersion"]
            caches = {
                kind: Cache(client, kind, f"{OWNER}={installation}", self._hints.tell)
                for kind in kinds
            }
            for kind, cache in caches.items():
                self._tasks.spawn(cache.run(), f"watch {kind.plural}")
            await synced(caches.values(), OPTIONAL)
        except (Unavailable, ApiError) as error:
            await self._tasks.end()
            await client.close()
            raise StartRefused(
                f"the cluster that {connector.source} leads to cannot be used: {error.message}",
                hint="Try kubectl with the same configuration; docs/operators.md lists the rights "
                "that Longshore needs.",
            ) from error
        self._described = f"Kubernetes {version} at {client.host}, namespace {client.namespace}"
        log.info("cluster: %s", self._described)
        return client, caches

    async def close(self, *, stop_workloads: bool) -> None:
        """Let go of the cluster; calling it twice is silence."""
        self._hints.close()
        if reading := self._reading:
            self._reading = None
            await self._tasks.end()
            await reading.close()
        if reporting := self._reporting:
            self._reporting = None
            await reporting.close()
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            for deployment in (
                list(opened.cluster.caches[DEPLOYMENT].all()) if stop_workloads else ()
            ):
                await opened.applier.remove(deployment["metadata"]["name"])
            if stop_workloads:
                await opened.puller.remove_all()
        except (Unavailable, ApiError) as error:
            log.warning("objects were left behind in the cluster: %s", error.message)
        await self._tasks.end()
        await opened.replicas.close()
        await opened.cluster.client.close()

    def describe(self) -> str:
        """Return the cluster's version, address and our namespace."""
        return self._described

    def read_loads(self, read: Callable[[], Sequence[Load]]) -> None:
        """Serve what routers observe to the cluster's autoscalers, if that is set up."""
        if self._front:
            owner = self._ready.cluster.owner
            demand = Demand(owner, read)
            server = MetricsServer(self._own, owner, self._front, demand)
            self._tasks.spawn(self._serve(server), "serve metrics")

    async def apply(self, workload: Workload) -> None:
        """Let the cluster run exactly this many replicas of exactly this workload."""
        opened = self._ready
        async with self._locks.of(workload.key):
            with _refused(WorkloadFailed):
                await opened.applier.apply(workload)
        self._hints.tell()

    async def delete(self, key: VersionKey) -> None:
        """Remove all objects of a version; its pods get moments to stop."""
        opened = self._ready
        async with self._locks.of(key):
            with _refused(Unavailable):
                await opened.applier.remove(object_name(opened.cluster.owner, key))
        self._hints.tell()

    async def list(self) -> Sequence[WorkloadStatus]:
        """Return all Deployments of this installation with their pods."""
        opened = self._ready
        for kind in VITAL:
            if problem := opened.cluster.caches[kind].problem:
                raise Unavailable(problem.message, hint=problem.hint)
        await opened.replicas.refresh()
        pods = opened.replicas.by_workload()
        for workload in opened.applier.revivable(pods) if self._leads() else ():
            self._tasks.spawn(self._revive(workload), f"writable root for {workload.key}")
        return [
            status_of(each, pods.get(each["metadata"]["name"], ()), opened.applier)
            for each in opened.cluster.caches[DEPLOYMENT].all()
            if key_of(each) and not each["metadata"].get("deletionTimestamp")
        ]

    def watch(self) -> AsyncIterator[None]:
        """Yield at each change of our objects, and when the API server comes or goes."""
        return self._hints.listen()

    async def logs(
        self, key: VersionKey, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the log lines of all pods of a version."""
        opened = self._ready
        client, name = opened.cluster.client, object_name(opened.cluster.owner, key)

        async def present() -> list[str]:
            """Return pods with their containers: a container that is replaced is another one."""
            pods = opened.replicas.by_workload().get(name, ())
            found = [(each.name, container_status(each.item) or {}) for each in pods]
            return [f"{pod} {status.get('containerID', '')}" for pod, status in found]

        async def read(container: str, _until: float) -> Sequence[Line]:
            with _refused(Unavailable):
                return await past(client, container.partition(" ")[0], tail)

        def read_on(container: str, since: float) -> AsyncIterator[Line]:
            return follow_log(client, container.partition(" ")[0], since)

        containers = Containers(present, read, read_on)
        async with contextlib.aclosing(
            log_of(key, containers, self._hints, follow=follow)
        ) as lines:
            async for line in lines:
                yield line

    async def nodes(self) -> Sequence[Node]:
        """Return the cluster's nodes that take pods, with what was reported of them."""
        with _refused(Unavailable):
            return await self._ready.nodes.look()

    def facts(self, node: Node) -> Mapping[str, Evidence] | None:
        """Return what is known of a node of this cluster by its GPUs; None where nothing is."""
        return self._opened.nodes.facts(node) if self._opened else None

    async def _revive(self, workload: Workload) -> None:
        try:
            await self.apply(workload)
        except LongshoreError as error:
            log.warning("%s: a start with a writable root: %s", workload.key, error.message)

    async def _serve(self, server: MetricsServer) -> None:
        try:
            await server.run()
        except LongshoreError as error:
            log.error("%s (%s)", error.message, error.hint)

    async def measured(
        self, keys: Sequence[VersionKey]
    ) -> Mapping[VersionKey, Sequence[ReplicaUse]]:
        """Return what the ready pods of these versions use, where the cluster measures it."""
        opened = self._ready
        owner, pods = opened.cluster.owner, opened.replicas.by_workload()
        mine = {key: pods.get(object_name(owner, key), ()) for key in keys}
        ready = {
            key: [each.item for each in found if is_ready(each)] for key, found in mine.items()
        }
        return await uses(opened.cluster.client, owner, {k: v for k, v in ready.items() if v})

    # --- small things -------------------------------------------------------------------------

    @property
    def _ready(self) -> _Opened:
        if self._opened is None:
            raise Unavailable("the kubernetes backend is not open")
        return self._opened


@contextmanager
def _refused(kind: type[WorkloadFailed] | type[Unavailable]) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        failed = refusal(error.message)
        raise kind(failed.message, hint=failed.hint) from error
