"""Layers put one upon the other: what of their findings is in the image that a container sees."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from longshore.hardware.findings import model_config
from longshore.hardware.findings.kinds import Blob, Finding, Link, ModelConfig, Weights
from longshore.hardware.findings.weights import format_of
from longshore.hardware.layers import Layer, number_of

_MOST_LINKS = 8
"""How many links are followed one after the other."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding that is in the image."""

    finding: Finding
    digest: str
    """Of the layer that brings it."""

    @property
    def where(self) -> str:
        """Where it is, as evidence."""
        return f"layer {self.digest}: /{self.finding.path}"


def in_image(layers: Sequence[Layer]) -> list[Found]:
    """Return what is left of the layers' findings, by path.

    Args:
        layers: the lowest first.
    """
    files: dict[str, list[Found]] = {}
    for layer in layers:
        covers = _Cover(layer)
        files = {path: found for path, found in files.items() if not covers(path)}
        # A file may tell of several things; links come last, for they may lead to any of them.
        below = dict(files)
        added: dict[str, list[Found]] = {}
        for finding in layer.findings:
            added.setdefault(finding.path, []).append(Found(finding, layer.digest))
        files |= {path: _latest(found) for path, found in added.items()}
        for path in added:
            _resolve_hard_links(path, files, below)
    return [found for path in sorted(files) for found in _of_links(path, files)]


def _latest(found: list[Found]) -> list[Found]:
    """Drop what an archive that has a path twice told before: its last one counts."""
    return list({each.finding.kind: each for each in found}.values())


def _resolve_hard_links(
    path: str, files: dict[str, list[Found]], below: Mapping[str, list[Found]]
) -> None:
    """Let a hard link tell what the file tells that it is another name of."""
    target = path
    for _ in range(_MOST_LINKS):
        link = _link(files.get(target, below.get(target, [])), hard=True)
        if link is None:
            break
        target = link.target
    if target == path:
        return
    files[path] = [
        Found(each.finding.model_copy(update={"path": path}), each.digest)
        for each in files.get(target, below.get(target, []))
        if not isinstance(each.finding, Link)
    ]


def _of_links(path: str, files: Mapping[str, list[Found]]) -> Iterator[Found]:
    """Yield what a path tells: of a link to a nameless file, what its name makes of that."""
    for found in files[path]:
        finding = found.finding
        if isinstance(finding, Blob):
            continue
        if not isinstance(finding, Link):
            yield found
            continue
        for each in files.get(finding.target, ()):
            if isinstance(each.finding, ModelConfig) and model_config.matters(path):
                yield Found(each.finding.model_copy(update={"path": path}), each.digest)
            format_ = format_of(path)
            if isinstance(each.finding, Blob) and format_:
                weights = Weights(path=path, format=format_, bytes=each.finding.bytes)
                yield Found(weights, each.digest)


def _link(found: Sequence[Found], *, hard: bool) -> Link | None:
    return next(
        (
            each.finding
            for each in found
            if isinstance(each.finding, Link) and each.finding.hard is hard
        ),
        None,
    )


class _Cover:
    """Tells which paths of the layers below are not seen any more.

    Args:
        layer: the one above them.
    """

    def __init__(self, layer: Layer) -> None:
        self._paths, self._solid, self._removed, self._emptied = (
            memoryview(numbers).cast("Q")
            for numbers in (layer.paths, layer.solid, layer.removed, layer.emptied)
        )
        self._folders: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        number = number_of(path)
        return (
            _has(self._paths, number)
            or _has(self._removed, number)
            or self._hides(path.rpartition("/")[0])
        )

    def _hides(self, folder: str) -> bool:
        """Return whether nothing of the layers below is left in a folder."""
        asked, hidden = [], False
        while folder not in self._folders:
            asked.append(folder)
            number = number_of(folder)
            hidden = any(_has(each, number) for each in (self._solid, self._removed, self._emptied))
            if hidden or not folder:
                break
            folder = folder.rpartition("/")[0]
        hidden = hidden or self._folders.get(folder, False)
        self._folders.update(dict.fromkeys(asked, hidden))
        return hidden


def _has(numbers: "memoryview[int]", number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
