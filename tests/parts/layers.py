"""Layers made by hand, with known things in them: packages, code for GPUs, weights."""

import gzip
import hashlib
import io
import json
import struct
import sys
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SITE = "usr/lib/python3.11/site-packages"
_GGUF_TYPES = {"F32": 0, "F16": 1, "Q4_K": 12, "BF16": 30}


def tar(
    files: Mapping[str, bytes | None],
    *,
    hard_links: Mapping[str, str] = {},
    symlinks: Mapping[str, str] = {},
    kind: int = tarfile.PAX_FORMAT,
) -> bytes:
    """Return an archive of files; what has no content is a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=kind) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        for links, what in ((hard_links, tarfile.LNKTYPE), (symlinks, tarfile.SYMTYPE)):
            for path, target in links.items():
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = what, target
                archive.addfile(entry)
    return packed.getvalue()


def gzipped(archive: bytes) -> bytes:
    return gzip.compress(archive, 6, mtime=0)


def many_gzips(archive: bytes, each: int = 700) -> bytes:
    """Return streams one after the other, as parallel and seekable compressors write them."""
    parts = [archive[at : at + each] for at in range(0, len(archive), each)]
    return b"".join(gzip.compress(part, 1, mtime=0) for part in parts)


def zstandard(archive: bytes, each: int | None = None) -> bytes:
    """Return a layer in zstd, a frame for so many bytes, with one to skip between them."""
    skipped = b"\x52\x2a\x4d\x18" + struct.pack("<I", 5) + b"aside"
    each = each or len(archive)
    parts = [archive[at : at + each] for at in range(0, len(archive), each)]
    return skipped.join(zstd.compress(part) for part in parts)


# --- packages -------------------------------------------------------------------------------------


def package(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    owns: Sequence[str] = (),
    site: str = SITE,
    metadata: bytes | None = None,
) -> dict[str, bytes]:
    """Return the files by which pip remembers a package."""
    folder = f"{site}/{name.replace('-', '_')}-{version}.dist-info"
    if metadata is None:
        lines = [f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        metadata = "\n".join([*lines, "", "Version: 0 is only a word here"]).encode()
    record = "".join(f"{each}/__init__.py,sha256=x,1\n" for each in owns)
    record += f"{folder.rpartition('/')[2]}/METADATA,,\n"
    return {f"{folder}/METADATA": metadata, f"{folder}/RECORD": record.encode()}


def conda_package(name: str, version: str, build: str, **more: Any) -> dict[str, bytes]:
    told = {"name": name, "version": version, "build": build, "files": ["x"], **more}
    path = f"opt/conda/conda-meta/{name}-{version}-{build}.json"
    return {path: json.dumps(told).encode()}


# --- code for GPUs --------------------------------------------------------------------------------


def fat_binary(sass: Sequence[str] = (), ptx: Sequence[str] = (), size: int = 3000) -> bytes:
    """Return what nvcc puts into the section ``.nv_fatbin`` for one source file."""
    entries = b""
    for kind, architectures in ((2, sass), (1, ptx)):
        for each in architectures:
            number = int(each.rstrip("af"))
            flags = 0x11 | {"a": 0x100000, "f": 0x200000}.get(each[-1], 0)
            header = 112 if kind == 2 and number >= 100 else 80 if kind == 1 else 64
            head = struct.pack("<HHIQIIHHI", kind, 0x101, header, size, size, 0, 1, 7, number)
            head += struct.pack("<IIQQQ", 0, 0, flags, 0, 0)
            entries += head.ljust(header, b"\0") + bytes(range(256)) * (size // 256 + 1)
            entries = entries[: len(entries) - (256 * (size // 256 + 1) - size)]
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def elf(*parts: bytes) -> bytes:
    """Return what begins as an ELF file does, with parts in the midst of it."""
    filling = b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20
    return filling + filling.join(parts) + filling[::-1]


# --- weights --------------------------------------------------------------------------------------


def safetensors(tensors: Mapping[str, tuple[str, Sequence[int], int]]) -> bytes:
    """Return a file of tensors, each with its type, shape and bytes."""
    at, header = 0, {}
    for name, (dtype, shape, length) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [at, at + length],
        }
        at += length
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(at)


def gguf(tensors: Mapping[str, tuple[str, Sequence[int]]], data: int = 4096) -> bytes:
    """Return a file of tensors, each with its type and shape, and some values before them."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    values = string("general.architecture") + struct.pack("<I", 8) + string("llama")
    values += string("llama.context_length") + struct.pack("<II", 4, 8192)
    tokens = b"".join(string(f"token {each}") for each in range(300))
    values += string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 300) + tokens
    values += string("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 300) + bytes(1200)
    described = b"".join(
        string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _GGUF_TYPES[dtype], 0)
        for name, (dtype, shape) in tensors.items()
    )
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 4)
    return head + values + described + bytes(data)


# --- zstd:chunked ---------------------------------------------------------------------------------

CHUNK = 1000


def chunked(
    files: Mapping[str, bytes],
    *,
    claims: Mapping[str, int] = {},
    prefix: str = "io.github.containers.zstd-chunked.",
    change: Any = None,
) -> tuple[bytes, dict[str, str]]:
    """Return a layer with a table of contents, and the annotations that tell of it.

    Args:
        files: what is in it; content of more than ``CHUNK`` bytes is cut into parts.
        claims: sizes of files of which only the beginning is really there.
        prefix: of the annotations.
        change: changes the table before it is packed.
    """
    layer, entries = b"", []
    for path, content in files.items():
        head, _, rest = tar({path: content}).partition(content or b"-")
        layer += zstd.compress(head[:512] if not content else head)
        begin, parts = len(layer), []
        for at in range(0, len(content), CHUNK):
            part = content[at : at + CHUNK]
            parts.append((len(layer), part))
            layer += zstd.compress(part)
        size = claims.get(path, len(content))
        entry: dict[str, Any] = {"type": "reg", "name": path, "mode": 0o644, "size": size}
        if content:
            digest = "sha256:" + hashlib.sha256(content).hexdigest()
            entry |= {"digest": digest, "offset": begin, "endOffset": len(layer)}
        entries.append(entry)
        if len(parts) > 1:
            others = [{"type": "chunk", "name": path} for _ in parts[1:]]
            for told, (offset, part) in zip([entry, *others], parts, strict=True):
                digest = "sha256:" + hashlib.sha256(part).hexdigest()
                told |= {"chunkSize": len(part), "offset": offset, "chunkDigest": digest}
            entries += others
        layer += zstd.compress(bytes(-len(content) % 512) or rest[:0])
    layer += zstd.compress(bytes(1024))
    table: Any = {"version": 1, "entries": entries, "tarSplitDigest": "sha256:..."}
    table = change(table) if change else table
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    packed = zstd.compress(text)
    annotations = {
        f"{prefix}manifest-position": f"{len(layer) + 8}:{len(packed)}:{len(text)}:1",
        f"{prefix}manifest-checksum": "sha256:" + hashlib.sha256(packed).hexdigest(),
    }
    return layer + b"\x50\x2a\x4d\x18" + struct.pack("<I", len(packed)) + packed, annotations
