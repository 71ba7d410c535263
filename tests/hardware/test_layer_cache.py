"""What is kept of layers on disk, by several processes at once."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from parts.handmade import sha256
from parts.layers import gzipped, package, tar

from longshore.hardware.bounds import ImagesSettings
from longshore.hardware.layer_cache import LayerCache
from longshore.hardware.layers import Layer, LayerReader


def found(number: int, size: int = 0) -> Layer:
    digest = f"sha256:{number:064x}"
    return Layer(digest=digest, size=number, paths=os.urandom(8 * (size // 8)))


def test_what_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    content = gzipped(tar({**package("a", "1"), "m.pt": b"x", ".wh.y": b"", "z/.wh..wh..opq": b""}))
    reader = LayerReader(sha256(content), len(content), ImagesSettings())
    reader.feed(content)
    layer = reader.finish()
    cache = LayerCache(tmp_path, ImagesSettings())
    assert cache.get(layer.digest) is None
    cache.put(layer)
    assert cache.get(layer.digest) == layer


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_what_a_crash_left_half_written_is_not_believed(
    tmp_path: Path, damage: bytes | None
) -> None:
    cache = LayerCache(tmp_path, ImagesSettings())
    cache.put(found(1, 800))
    [path] = [each for each in tmp_path.rglob("*") if each.is_file()]
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] if damage is None else damage)
    assert cache.get(found(1).digest) is None
    assert not path.exists()
    path.write_bytes(whole.replace(b'"size":1', b'"size":7'))
    assert cache.get(found(1).digest) is None, "nor one in which a bit tipped over"
    # Nor is one that says that it is another.
    body = found(2).model_dump_json().encode()
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert cache.get(found(1).digest) is None


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path, ImagesSettings(cache=100_000))
    for number in range(1, 7):
        cache.put(found(number, 10_000))
        path = next(each for each in tmp_path.rglob(f"{number:064x}"))
        os.utime(path, (number, number))
    first = found(1).digest
    assert cache.get(first), "which makes it the one that was used last"
    for number in range(7, 12):
        cache.put(found(number, 10_000))
    assert sum(each.stat().st_size for each in tmp_path.rglob("*") if each.is_file()) <= 100_000
    assert cache.get(first)
    assert cache.get(found(11).digest)
    assert cache.get(found(2).digest) is None


def test_one_that_is_too_large_and_abandoned_drafts_are_not_kept(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path, ImagesSettings(cache=100_000))
    cache.put(found(1, 60_000))
    assert cache.get(found(1).digest) is None
    cache.put(found(2))
    [kept] = [each for each in tmp_path.rglob("*") if each.is_file()]
    old, new = kept.with_name("old.draft"), kept.with_name("new.draft")
    for draft in (old, new):
        draft.write_bytes(b"x")
    os.utime(old, (1, 1))
    cache.put(found(3))
    assert not old.exists()
    assert new.exists()


def test_a_cache_that_cannot_be_used_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = LayerCache(tmp_path / "file", ImagesSettings())
    cache.put(found(1))
    assert cache.get(found(1).digest) is None


def _use(folder: Path, seed: int) -> int:
    """Write and read a cache that others write and read; return how many were there."""
    cache, there = LayerCache(folder, ImagesSettings(cache=200_000)), 0
    for step in range(150):
        number = 1 + (step * 7 + seed) % 40
        known = cache.get(found(number).digest)
        if known:
            assert known.size == number
            there += 1
        cache.put(found(number, 8_000))
    return there


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        there = list(pool.map(_use, [tmp_path] * 4, range(4)))
    # How many each of them met depends on the others.
    assert sum(there)
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not [each for each in files if each.name.endswith(".draft")]
    cache = LayerCache(tmp_path, ImagesSettings())
    assert all(cache.get(f"sha256:{each.name}") for each in files)
