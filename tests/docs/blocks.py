"""The code blocks of the documentation."""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

_BLOCK = re.compile(
    r"(?:<!-- run by: (?P<elsewhere>[^>]+?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``elsewhere`` says what runs it where the pages' own test does not."""

    page: Path
    language: str
    text: str
    elsewhere: str | None

    @property
    def commands(self) -> list[str]:
        return [line for line in self.text.splitlines() if line and not line.startswith("#")]


def blocks(page: Path, language: str) -> list[Block]:
    return [
        Block(page, found["language"], found["text"], found["elsewhere"])
        for found in _BLOCK.finditer(page.read_text())
        if found["language"] == language
    ]
