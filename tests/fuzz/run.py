"""Fuzz the parsers for some time: ``python tests/fuzz/run.py SECONDS``.

With atheris installed (``pip install atheris``), coverage leads it; otherwise inputs are made by
changing those of the corpus at random. An input that breaks something is printed as it is.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parts.corpus import CASES

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 304 X\r\nContent-Length: 5\r\nConnection: close\r\nDate: then\r\n\r\n",
]
CHUNKED = [b"5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nbeyond", b"1\r\nx\r\n00\r\n\r\n"]
PARTS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\xff", b":"),
    *(b"0", b"1", b"5", b"-", b"+", b";", b",", b"#", b"0x", b"f" * 16, b"chunked", b"HTTP/1.1"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"X: y\r\n"),
    *(b"Connection: upgrade\r\nUpgrade: x\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n"),
]


def seeds() -> list[bytes]:
    """Return the inputs to begin with; their first byte says how they are cut."""
    target = b"/v1/models/iris/predict"
    requests = [case.raw.replace(b"%T", target) for case in CASES if len(case.raw) < 2000]
    return [b"\x01" + each for each in (*requests, *ANSWERS, *CHUNKED)] + requests + ANSWERS


def changed(draw: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return an input with one to four changes."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(data))
        end = min(at + draw.choice((0, 1, 1, 2, 8, 40)), len(data))
        match draw.randrange(4):
            case 0:
                data = data[:at] + data[end:]
            case 1:
                data = data[:at] + draw.choice(PARTS) + data[end:]
            case 2:
                data = data[:at] + bytes([draw.randrange(256)]) + data[end:]
            case _:
                other = draw.choice(others)
                begin = draw.randint(0, len(other))
                data = data[:at] + other[begin : begin + draw.randint(1, 60)] + data[end:]
    return data


def run(seconds: float, seed: int) -> int:
    """Check random inputs for so long, and return how many there were.

    Raises:
        AssertionError: something does not hold; a note tells for which input.
    """
    from fuzz import layers
    from fuzz.targets import all_targets

    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    kinds = ((seeds(), all_targets), (layers.seeds(), layers.all_targets))
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        begin, check = kinds[count % len(kinds)]
        data = changed(draw, draw.choice(begin), begin)
        count += 1
        try:
            check(data)
        except Exception as error:
            error.add_note(f"for the input {data!r}")
            raise
    return count


def main() -> None:
    """Fuzz with the best there is."""
    seconds = float(sys.argv[1])
    try:
        import atheris
    except ImportError:
        print(f"{run(seconds, time.time_ns())} inputs")
        return
    with atheris.instrument_imports(include=["longshore"]):
        from fuzz import layers
        from fuzz.targets import all_targets

    def everything(data: bytes) -> None:
        """Check what parses requests, and what parses layers."""
        all_targets(data)
        layers.all_targets(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, each in enumerate((*seeds(), *layers.seeds())):
            (Path(corpus) / str(number)).write_bytes(each)
        limits = (f"-max_total_time={seconds:.0f}", "-max_len=16384", "-print_final_stats=1")
        # Where it breaks, the input lands in a file here.
        atheris.Setup([sys.argv[0], *limits, corpus], everything)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
