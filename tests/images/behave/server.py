"""A model server that behaves as its environment says, well or badly.

PORT            where it listens (8080)
START_DELAY     seconds before it listens
EXIT            end with this status at once, after a few last words
HEALTH          status that GET /health answers (200); 404 means that there is no such path
EAT             allocate this many MiB at the start, and keep them
WRITE           write this file at the start, and end with status 1 if that fails
IGNORE_TERM     go on when asked to stop
WORK            seconds that a prediction takes
TELL            HOST:PORT that gets the body of each prediction by TCP, before it is answered
"""

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CHUNK = 64 * 1024
NUMBERS = count(1)
EATEN: list[bytearray] = []


class Server(ThreadingHTTPServer):
    """Keeps up with bursts, and ends without waiting for what is under way."""

    daemon_threads = True
    request_queue_size = 1024


class Handler(BaseHTTPRequestHandler):
    """Answers what the path asks for."""

    protocol_version = "HTTP/1.1"
    # Small answers go out at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Keep quiet: the log is for what tests look for."""

    def setup(self) -> None:
        """Prepare for one connection."""
        super().setup()
        self.options: dict[str, str] = {}

    def do_GET(self) -> None:
        """Answer GET, and with ``do_POST`` every other method."""
        self.respond()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET

    def respond(self) -> None:
        """Find the answer by the first part of the path."""
        target = urlsplit(self.path)
        self.options = {name: values[-1] for name, values in parse_qs(target.query).items()}
        first, _, rest = target.path.strip("/").partition("/")
        answer = getattr(self, f"on_{first}", None)
        if answer is None:
            list(self.body())
            self.answer(404, b"no such path\n", "text/plain")
        else:
            answer(rest)

    def on_health(self, _: str) -> None:
        status = int(os.environ.get("HEALTH", "200"))
        list(self.body())
        self.answer(status, b"ready\n" if status == 200 else b"not ready\n", "text/plain")

    def on_predict(self, _: str) -> None:
        """Echo the body."""
        content = b"".join(self.body())
        if "TELL" in os.environ:
            tell(content)
        time.sleep(float(os.environ.get("WORK", "0")))
        self.answer(200, content, self.headers.get("content-type", "application/octet-stream"))

    def on_slow(self, _: str) -> None:
        list(self.body())
        time.sleep(float(self.options.get("seconds", "1")))
        self.answer(200, b"slow\n", "text/plain")

    def on_status(self, rest: str) -> None:
        list(self.body())
        self.answer(int(rest), b"" if rest in {"204", "304"} else b"as asked\n", "text/plain")

    def on_headers(self, _: str) -> None:
        list(self.body())
        self.answer(200, json.dumps(self.headers.items()).encode(), "application/json")

    def on_environment(self, _: str) -> None:
        list(self.body())
        self.answer(200, json.dumps(dict(os.environ)).encode(), "application/json")

    def on_sink(self, _: str) -> None:
        """Read the body, and answer its length and digest."""
        digest, length = hashlib.sha256(), 0
        for chunk in self.body():
            digest.update(chunk)
            length += len(chunk)
        content = json.dumps({"length": length, "sha256": digest.hexdigest()}).encode()
        self.answer(200, content, "application/json")

    def on_big(self, _: str) -> None:
        list(self.body())
        left = int(self.options["bytes"])
        self.send_response(200)
        self.send_header("content-length", str(left))
        self.end_headers()
        while left:
            left -= self.wfile.write(b"x" * min(left, CHUNK))

    def on_stream(self, _: str) -> None:
        """Send server-sent events: ``count`` of them, ``every`` seconds apart."""
        list(self.body())
        self.start_chunked("text/event-stream")
        for number in range(int(self.options.get("count", "3"))):
            self.chunk(f"data: {number} {time.time()}\n\n".encode())
            time.sleep(float(self.options.get("every", "0.1")))
        self.chunk(b"")

    def on_drip(self, _: str) -> None:
        """Send ``count`` chunks of one byte, ``every`` seconds apart."""
        list(self.body())
        self.start_chunked("application/octet-stream")
        for _number in range(int(self.options.get("count", "10"))):
            self.chunk(b".")
            time.sleep(float(self.options.get("every", "0.1")))
        self.chunk(b"")

    def on_die(self, _: str) -> None:
        """End the process: ``when`` is ``before`` the answer or in the ``middle`` of it."""
        list(self.body())
        if self.options.get("when") == "middle":
            self.start_chunked("text/plain")
            self.chunk(b"the beginning, and then")
        print("dying as asked", flush=True)
        os._exit(3)

    def body(self) -> Iterator[bytes]:
        """Yield the request's body, sized or chunked."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("content-length") or 0)
        while left:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk

    def answer(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("x-replica", socket.gethostname())
        self.send_header("x-count", str(next(NUMBERS)))
        if status not in {204, 304}:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def start_chunked(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()


def tell(content: bytes) -> None:
    """Let whoever asked know of a prediction."""
    host, _, port = os.environ["TELL"].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as sender:
        sender.sendall(content[:512])


def main() -> None:
    """Do what the environment asks, then serve."""
    asked = os.environ.get
    print("behave starts", flush=True)
    if asked("IGNORE_TERM"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        # As process 1, the default would be to ignore it.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if asked("WRITE"):
        Path(os.environ["WRITE"]).write_text("written\n")
    if asked("EXIT"):
        # Both outputs are collected apart; what is written later is to be read later.
        time.sleep(0.1)
        print("first line\nlast words: cannot find the model", file=sys.stderr, flush=True)
        sys.exit(int(os.environ["EXIT"]))
    if asked("EAT"):
        # Touched page by page, so that it is really taken.
        EATEN.extend(bytearray(os.urandom(1024) * 1024) for _ in range(int(os.environ["EAT"])))
        print(f"ate {len(EATEN)} MiB", flush=True)
    time.sleep(float(asked("START_DELAY", "0")))
    server = Server(("0.0.0.0", int(asked("PORT", "8080"))), Handler)
    print("behave listens", flush=True)
    threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main()
