"""The engine's log stream, cut in any way, as lines."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.core.backends.lines import LONGEST_LINE, TAIL_BYTES, Line, clean, tail_of
from longshore.plugins.engine.logs import LineReader
from longshore.plugins.engine.wire import EngineError

AT = "2026-11-24T02:38:37Z"


def frame(text: str, output: int = 1) -> bytes:
    content = f"{AT} {text}".encode()
    return bytes([output, 0, 0, 0]) + len(content).to_bytes(4) + content


def read(*pieces: bytes) -> list[str]:
    reader = LineReader()
    lines = [line for piece in pieces for line in reader.feed(piece)]
    lines += reader.finish()
    return [line.cleaned().text for line in lines]


STREAM = frame("one\n") + frame("tw") + frame("an error\n", 2) + frame("o\n") + frame("three")


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_cut_gives_the_same_lines(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(ends)]
    assert read(*pieces) == ["one", "an error", "two", "three"]


def test_long_line_is_bounded() -> None:
    (line,) = read(*[frame("x" * 9000) for _ in range(100)], frame("end\n"))
    assert len(line) == LONGEST_LINE + 1


def test_time_of_a_line_is_that_of_its_beginning() -> None:
    reader = LineReader()
    assert not [*reader.feed(frame("te"))]
    later = frame("xt\n").replace(AT.encode(), AT.replace("37Z", "39Z").encode())
    (line,) = reader.feed(later)
    assert line.cleaned() == Line(AT, "text")


def test_what_is_no_log_is_refused() -> None:
    with pytest.raises(EngineError):
        list(LineReader().feed(b"HTTP/1.1 200 OK"))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\r\n", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("bell\x07 and nul\x00", "bell and nul"),
        ("10%\r50%\r100%", "100%"),
        ("tab\tstays", "tab\tstays"),
        ("\u202eevil", "evil"),
        ("Grüße", "Grüße"),
    ],
)
def test_lines_are_harmless(written: str, shown: str) -> None:
    assert clean(written) == shown


@given(st.text())
def test_nothing_controls_a_terminal(written: str) -> None:
    assert all(each == "\t" or each.isprintable() or ord(each) > 0x9F for each in clean(written))


def test_tail_is_bounded() -> None:
    assert tail_of([Line(AT, str(number)) for number in range(100)])[0] == "80"
    huge = tail_of([Line(AT, "old"), Line(AT, "ü" * 9000), Line(AT, "last")])
    assert huge[-1] == "last"
    assert sum(len(line.encode()) for line in huge) <= TAIL_BYTES
