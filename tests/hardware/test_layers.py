"""One layer: in every dialect, however it comes, and what is made of those that mean harm."""

import gzip
import random
import struct
import sys
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from parts.layers import (
    SITE,
    elf,
    fat_binary,
    gguf,
    gzipped,
    many_gzips,
    package,
    safetensors,
    tar,
    zstandard,
)
from parts.reading import BOUNDS, read, sha256

from longshore.hardware.bounds import Damaged, ImagesSettings, TooMuch
from longshore.hardware.findings.kinds import DeviceCode, Weights
from longshore.hardware.layers import LayerReader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FILES = {
    **package("xgboost", "3.2.0", owns=["xgboost"]),
    f"{SITE}/xgboost/lib/libxgboost.so": elf(
        fat_binary(["50", "90a"], ["120"]), fat_binary(["100f"], size=40)
    ),
    "models/a.safetensors": safetensors({"a": ("F32", [3, 4], 48)}),
    "models/b.gguf": gguf({"a": ("F16", [5])}),
    "empty": b"",
    "folder/": None,
}


# --- dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pack", [bytes, gzipped, many_gzips, zstandard, lambda a: zstandard(a, 999)]
)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_layer_tells_the_same_however_it_is_packed_and_comes(
    pack: Callable[[bytes], bytes], seed: int | None
) -> None:
    expected = read(tar(FILES))
    assert [each.kind for each in expected.findings] == [
        *("package", "ownership", "device_code", "weights", "weights")
    ]
    found = read(pack(tar(FILES)), seed=seed)
    assert found.findings == expected.findings
    assert (found.paths, found.entries, found.unpacked) == (
        expected.paths, expected.entries, expected.unpacked
    )  # fmt: skip


def test_code_for_gpus_is_found_where_it_is_cut_in_two_at_any_place() -> None:
    code = elf(fat_binary(["75", "90a"], ["90"], size=64), fat_binary(["103"], size=8))
    layer = tar({"lib/a.so": code})
    [expected] = read(layer).findings
    assert isinstance(expected, DeviceCode)
    assert (expected.sass, expected.ptx) == (("75", "90a", "103"), ("90",))
    for at in range(512, len(layer) - 1024):
        reader = LayerReader(sha256(layer), len(layer), BOUNDS)
        reader.feed(layer[:at])
        reader.feed(layer[at:])
        assert reader.finish().findings == (expected,)


def test_what_only_looks_like_code_for_gpus_is_passed_over() -> None:
    magic = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 1 << 60)
    # As an operand in a program, and with something else than an entry behind it.
    entry = struct.pack("<HHIQIIHHI", 2, 0x101, 64, 8, 8, 0, 1, 7, 5000) + bytes(40)
    code = elf(
        *(magic + bytes(100), magic[:8], fat_binary(["86"])),
        *(magic + b"\xff" * 100, magic + entry),
    )
    [found] = read(tar({"a": code})).findings
    assert isinstance(found, DeviceCode)
    assert (found.sass, found.ptx) == (("86",), ())
    assert not read(tar({"notes.txt": fat_binary(["86"])})).findings, "it is no program"


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read_in_each_dialect(kind: int) -> None:
    folder = "/".join(["a" * 60] * (3 if kind == tarfile.USTAR_FORMAT else 8))
    layer = tar({f"{folder}/model.pt": b"x" * 600, "next.pt": b"y"}, kind=kind)
    assert [each.path for each in read(layer).findings] == [f"{folder}/model.pt", "next.pt"]


def header(name: bytes, size: bytes, kind: bytes = b"0", **fields: Any) -> bytes:
    """Return a header block whose checksum fits."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    for at, value in fields.items():
        block[int(at[2:]) : int(at[2:]) + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_sizes_beyond_eight_octal_gigabytes_are_read() -> None:
    size = 3 << 33
    reader = LayerReader("sha256:" + "0" * 64, 1 << 60, BOUNDS)
    reader.feed(header(b"m.pt", b"\x80" + size.to_bytes(11, "big")) + bytes(100))
    [found] = reader.so_far("").findings
    assert isinstance(found, Weights)
    assert found.bytes == size


def test_files_with_holes_are_told_by_their_real_size_and_not_read() -> None:
    block = header(b"m.pt", b"%011o" % 512, b"S", at482=b"\1", at483=b"%011o" % 99999)
    more = bytes(504) + b"\0" * 8
    layer = block + more + b"\x7fELF" + bytes(508) + header(b"n.pt", b"%011o" % 1) + b"x"
    layer += bytes(511 + 1024)
    assert [each.path for each in read(layer).findings] == ["n.pt"]


# --- bounds ---------------------------------------------------------------------------------------


def bomb(packed: Callable[[bytes], bytes], size: int) -> bytes:
    zeros = tar({"zeros": bytes(size)})
    return packed(zeros)


@pytest.mark.parametrize("pack", [gzipped, zstandard])
def test_a_bomb_is_put_out(pack: Callable[[bytes], bytes]) -> None:
    content = bomb(pack, 300 << 20)
    assert len(content) < 1 << 20
    with pytest.raises(TooMuch, match="more than 100 times its size, as bombs do"):
        read(content)
    assert read(content, ImagesSettings(ratio=1e9)).entries == 1
    with pytest.raises(TooMuch, match="unpacks to more than 1000000 bytes"):
        read(content, ImagesSettings(unpacked=1_000_000))


def test_one_that_unpacks_a_hundred_gigabytes_from_a_megabyte_ends_at_once() -> None:
    frame = zstd.compress(bytes(128 << 20))
    content = zstd.compress(header(b"z", b"\x80" + (1 << 50).to_bytes(11, "big"))) + frame * 80
    reader = LayerReader(sha256(content), len(content), BOUNDS)
    with pytest.raises(TooMuch):
        reader.feed(content)
    assert reader.so_far("").unpacked < 258 << 20


def test_memory_that_a_stream_asks_for_is_bounded() -> None:
    options = {int(zstd.CompressionParameter.window_log): 27}
    wide = zstd.ZstdCompressor(options=options)
    content = wide.compress(random.Random(1).randbytes(4000)) + wide.flush()  # noqa: S311
    # Without its size in the header, the window is what a reader has to go by.
    with pytest.raises(Damaged, match="cannot be unpacked"):
        read(content)


def test_more_entries_than_allowed_end_the_reading() -> None:
    layer = gzipped(tar({f"{each}": b"" for each in range(101)}))
    assert read(layer, ImagesSettings(entries=101)).entries == 101
    with pytest.raises(TooMuch, match="more than 100 files and folders"):
        read(layer, ImagesSettings(entries=100))


def test_more_findings_than_allowed_are_not_kept() -> None:
    layer = read(tar({f"{each}.pt": b"x" for each in range(20)}), ImagesSettings(findings=5))
    assert len(layer.findings) == 5
    assert layer.skipped == ("more than 5 files that tell of something",)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_gigantic_header_is_not_held(kind: bytes) -> None:
    reader = LayerReader("sha256:" + "0" * 64, 1 << 60, BOUNDS)
    with pytest.raises(TooMuch, match="extended header of 8589934591 bytes"):
        reader.feed(header(b"h", b"77777777777", kind))


@pytest.mark.parametrize(
    "extended",
    [
        b"12 path=a\n",
        b"x path=a\n",
        b"-1 path=a\n",
        b"0 path=a\n",
        b"99999999999999999999 path=a\n",
        b"12 size=-10\n",
        b"33 size=99999999999999999999999\n",
        b" " * 50,
    ],
)
def test_an_extended_header_that_is_none_is_refused(extended: bytes) -> None:
    layer = header(b"h", b"%011o" % len(extended), b"x") + extended.ljust(512, b"\0")
    layer += header(b"f", b"0") + bytes(1024)
    with pytest.raises(Damaged, match="extended header"):
        read(layer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"layer", "in the midst of an entry"),
        (b"\x1f\x8b no gzip", "cannot be unpacked"),
        (gzip.compress(bytes(9999))[:-1], "in the midst of its compressed data"),
        (gzip.compress(tar(FILES))[:-300], "in the midst of its compressed data"),
        (zstd.compress(tar(FILES))[:-3], "in the midst of its compressed data"),
        (tar(FILES)[:3000], "in the midst of an entry"),
        (b"x" * 512, "no tar archive"),
        (gzip.compress(b"x" * 1000), "no tar archive"),
        (header(b"f", b"99"), "a number in a header that is none"),
        (header(b"f", b"\xff" * 12), "impossible size"),
        (header(b"f", b"1").replace(b"ustar", b"USTAR"), "a header of it is damaged"),
    ],
    ids=range(11),
)
def test_what_is_no_layer_is_refused(content: bytes, message: str) -> None:
    for seed in (None, 1):
        with pytest.raises(Damaged, match=message):
            read(content, seed=seed)


def test_a_layer_is_what_its_manifest_tells_or_nothing() -> None:
    content = gzipped(tar(FILES))
    for size, message in ((len(content) - 1, "is longer than"), (len(content) + 1, "ends after")):
        with pytest.raises(Damaged, match=message):
            read(content, size=size)
    reader = LayerReader(sha256(b""), len(content), BOUNDS)
    reader.feed(content)
    with pytest.raises(Damaged, match=r"has the digest sha256:.* instead of its own"):
        reader.finish()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./a/b.pt", "a/b.pt"),
        ("/a/b.pt", "a/b.pt"),
        ("a//./b.pt", "a/b.pt"),
        ("a/...b/c.pt", "a/...b/c.pt"),
        ("../etc/b.pt", None),
        ("a/../b.pt", None),
        ("a/b\\..\\c.pt", "a/b\\..\\c.pt"),
        ("x" * 5000 + ".pt", None),
    ],
)
def test_names_lead_nowhere_but_into_the_image(name: str, path: str | None) -> None:
    found = read(tar({name: b"x"})).findings
    assert [each.path for each in found] == ([path] if path else [])


def test_a_nul_in_an_extended_name_names_nothing() -> None:
    line = b"18 path=a\0b.pt\n..\n"
    layer = header(b"h", b"%011o" % len(line), b"x") + line.ljust(512, b"\0")
    layer += header(b"f.pt", b"%011o" % 1) + b"x".ljust(512, b"\0") + bytes(1024)
    assert not read(layer).findings
