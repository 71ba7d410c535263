"""Layers upon each other: what is left of those below."""

import pytest
from parts.layers import tar
from parts.reading import read

from longshore.hardware.filesystem import in_image
from longshore.hardware.layers import number_of


def left(*layers: bytes) -> list[str]:
    return [each.finding.path for each in in_image([read(layer) for layer in layers])]


BELOW = tar({"a/b/c.pt": b"1", "a/d.pt": b"2", "e.pt": b"3"})


@pytest.mark.parametrize(
    ("above", "paths"),
    [
        (tar({"a/b/.wh.c.pt": b""}), ["a/d.pt", "e.pt"]),
        (tar({"a/.wh.b": b""}), ["a/d.pt", "e.pt"]),
        (tar({".wh.a": b""}), ["e.pt"]),
        (tar({"a/.wh..wh..opq": b"", "a/f.pt": b""}), ["e.pt"]),
        (tar({".wh..wh..opq": b""}), []),
        (tar({"a": b"a file"}), ["e.pt"]),
        (tar({}, symlinks={"a": "elsewhere"}), ["e.pt"]),
        (tar({"e.pt/": None}), ["a/b/c.pt", "a/d.pt"]),
        (tar({"a/": None}), ["a/b/c.pt", "a/d.pt", "e.pt"]),
        (tar({".wh..wh.plnk": b"", "x/.wh.e.pt": b""}), ["a/b/c.pt", "a/d.pt", "e.pt"]),
    ],
    ids=range(10),
)
def test_a_layer_hides_what_is_below_it(above: bytes, paths: list[str]) -> None:
    assert left(BELOW, above) == paths
    assert left(above, BELOW) == ["a/b/c.pt", "a/d.pt", "e.pt"], "never what is above it"


def test_a_whiteout_does_not_hide_what_its_own_layer_brings() -> None:
    assert left(BELOW, tar({".wh.a": b"", "a/new.pt": b"x"})) == ["a/new.pt", "e.pt"]
    assert left(BELOW, tar({"a/new.pt": b"x", ".wh.a": b""})) == ["a/new.pt", "e.pt"]


def test_a_deep_path_is_followed_without_recursion() -> None:
    deep = "/".join("a" * 1 for _ in range(1900))
    assert left(tar({f"{deep}/m.pt": b"x"}), tar({f"{deep}/.wh.m.pt": b""})) == []
    assert number_of(deep) != number_of(deep[:-2])


def test_hard_links_tell_what_they_lead_to_even_when_that_is_gone() -> None:
    below = tar({"cache/x.pt": b"12345"}, hard_links={"m.pt": "cache/x.pt", "n.pt": "m.pt"})
    assert left(below, tar({".wh.cache": b""})) == ["m.pt", "n.pt"]
    loop = tar({}, hard_links={"a.pt": "b.pt", "b.pt": "a.pt"})
    assert left(loop) == []
