"""What is measured side by side: the proxies, and the backends behind them."""

import contextlib
import getpass
import http.client
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import STARTS_WITHIN, BenchFailed, Process, Programs, free_port, need

HERE = Path(__file__).parent
ANSWER = '{"predictions":[0]}'
"""What the backend answers to every prediction."""

QUESTION = b'{"features":[5.1,3.5,1.4,0.25]}'


def plain(what: str) -> str:
    """Return the path of a backend's call on a proxy that changes no path."""
    return f"/{what}"


def routed(what: str) -> str:
    """Return the path of a backend's call on Longshore: each is a model's predict path."""
    return f"/v1/models/{what.replace('/', '-')}/versions/1/predict"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that answers predictions on a port."""

    name: str
    port: int
    process: Process
    path: Callable[[str], str] = plain
    """From a backend's call (``predict``, ``download/1024``) to the path for it here."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many registered versions, of which the first of each model is active."""

    models: int
    versions: int


@dataclass(frozen=True, slots=True)
class Subjects:
    """Starts subjects; each ends with its context.

    Args:
        programs: starts their programs.
    """

    programs: Programs

    @contextlib.contextmanager
    def backend(self, addresses: int = 1) -> Iterator[Subject]:
        """Run nginx with one fixed answer, on many addresses of loopback if asked for."""
        port = free_port()
        listens = "\n".join(
            f"listen {loopback(each)}:{port} backlog=4096;" for each in range(addresses)
        )
        with self._nginx("backend", port, self.programs.cores.load, listens=listens) as process:
            yield checked(Subject("backend alone", port, process))

    @contextlib.contextmanager
    def streaming_backend(self) -> Iterator[Subject]:
        """Run the backend that takes and gives long bodies, and sends events."""
        port = free_port()
        command = [sys.executable, str(HERE / "streaming_backend.py"), str(port)]
        cores = self.programs.cores.load
        with self.programs.running("streaming backend", command, port, cores=cores) as process:
            yield Subject("backend alone", port, process)

    @contextlib.contextmanager
    def nginx(self, backend: Subject, upstreams: int = 0) -> Iterator[Subject]:
        """Run nginx with one worker.

        Args:
            backend: where it passes requests on to.
            upstreams: how many of the backend's addresses it knows besides, each by the path that
                Longshore has for a model of a crowd.
        """
        port, cores = free_port(), self.programs.cores.proxy
        many = [_upstream(number, backend.port) for number in range(upstreams)]
        values = {
            "backend": str(backend.port),
            "upstreams": "\n".join(upstream for upstream, _ in many),
            "locations": "\n".join(location for _, location in many),
        }
        with self._nginx("nginx", port, cores, **values) as process:
            yield Subject("nginx", port, process)

    @contextlib.contextmanager
    def haproxy(self, backend: Subject) -> Iterator[Subject]:
        """Run HAProxy with one thread."""
        port = free_port()
        file = self._configure("haproxy.cfg", port=str(port), backend=str(backend.port))
        command = [need("haproxy"), "-db", "-f", str(file)]
        cores = self.programs.cores.proxy
        with self.programs.running("HAProxy", command, port, cores=cores) as process:
            yield Subject("HAProxy", port, process)

    @contextlib.contextmanager
    def longshore(
        self, backend: Subject, *calls: str, crowd: Crowd | None = None, workers: int = 1
    ) -> Iterator[Subject]:
        """Run Longshore's router.

        Args:
            backend: all replicas are there.
            calls: the backend's calls, each a model of its own.
            crowd: versions that are registered besides.
            workers: processes that carry requests; 1 does everything in one.
        """
        port = free_port()
        command = [sys.executable, str(HERE / "router_under_test.py"), str(port), str(backend.port)]
        command += ["--calls", *(calls or ["predict"]), "--workers", str(workers)]
        if crowd:
            command += ["--models", str(crowd.models), "--versions", str(crowd.versions)]
        cores = self.programs.cores.proxy
        with self.programs.running("Longshore", command, port, cores=cores, talks=True) as process:
            yield Subject("Longshore", port, process, routed)

    @contextlib.contextmanager
    def peer(self, name: str, module: str, backend: Subject) -> Iterator[Subject]:
        """Run one of the Python proxies in peers/, under uvicorn as Longshore's router."""
        port = free_port()
        uvicorn = ["-m", "uvicorn", "--app-dir", str(HERE / "peers"), f"{module}:app"]
        options = ["--port", str(port), "--no-access-log", "--loop", "uvloop"]
        command = ["env", f"BENCH_BACKEND={backend.port}", sys.executable, *uvicorn, *options]
        cores = self.programs.cores.proxy
        with self.programs.running(name, command, port, cores=cores) as process:
            yield Subject(name, port, process)

    @contextlib.contextmanager
    def ray_serve(self, python: Path) -> Iterator[Subject]:
        """Run Ray Serve with one replica, on all cores, for it needs several processes."""
        port = free_port()
        command = [str(python), str(HERE / "peers" / "ray_serve.py"), str(port), ANSWER]
        cores = self.programs.cores.proxy | self.programs.cores.load
        with self.programs.running("Ray Serve", command, port, cores=cores) as process:
            subject = Subject("Ray Serve", port, process)
            # Its port answers 404 long before the model is deployed.
            deadline = time.monotonic() + STARTS_WITHIN
            while time.monotonic() < deadline and process.popen.poll() is None:
                with contextlib.suppress(BenchFailed):
                    checked(subject)
                    break
                time.sleep(0.2)
            yield subject

    @contextlib.contextmanager
    def _nginx(
        self, name: str, port: int, cores: frozenset[int], **values: str
    ) -> Iterator[Process]:
        values |= {"answer": ANSWER, "files": str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])}
        # Started by root, the worker would be somebody who cannot enter the scratch folder.
        user = getpass.getuser()
        values["user"] = f"user {user};" if user == "root" else ""
        file = self._configure(f"{name}.conf", port=str(port), **values)
        command = [need("nginx"), "-p", str(self.programs.scratch), "-e", "stderr", "-c", str(file)]
        with self.programs.running(name, command, port, cores=cores) as process:
            yield process

    def _configure(self, template: str, **values: str) -> Path:
        text = (HERE / "conf" / template).read_text()
        for name, value in {**values, "scratch": str(self.programs.scratch)}.items():
            text = text.replace(f"@{name}@", value)
        file = self.programs.scratch / f"{values['port']}-{template}"
        file.write_text(text)
        return file


def _upstream(number: int, port: int) -> tuple[str, str]:
    """Return nginx's words for one of many upstreams, and for the path that leads to it."""
    upstream = (
        f"upstream model_{number} {{ server {loopback(number)}:{port}; "
        "keepalive 32; keepalive_requests 100000000; }"
    )
    path = f"/v1/models/crowd-{number}/versions/0/predict"
    return upstream, f"location = {path} {{ proxy_pass http://model_{number}/predict; }}"


def loopback(number: int) -> str:
    """Return one of many addresses that all are this machine; 127.0.0.1 is the first."""
    block, position = divmod(number, 250)
    return f"127.0.{block}.{position + 1}"


def checked(subject: Subject) -> Subject:
    """Return the subject, if it answers a prediction rightly.

    Raises:
        BenchFailed: it does not; with what it said.
    """
    connection = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=30)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", subject.path("predict"), QUESTION, headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    if (answer.status, said) != (http.HTTPStatus.OK, ANSWER):
        raise BenchFailed(f"{subject.name} answered {answer.status}: {said[:500]}")
    return subject
