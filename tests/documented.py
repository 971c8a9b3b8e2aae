"""Manifests in the documentation, for tests that apply them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
GROUP = "cloudrun-identity.dev/"


@dataclass(frozen=True)
class Example:
    """A block of YAML on a page that contains whole custom resources, and possibly other objects."""

    page: str
    line: int
    objects: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[str]:
    """Yield every block of YAML on a page."""
    return (block for _, block in _numbered_blocks(page))


def examples(page: Path) -> Iterator[Example]:
    """Yield every block of YAML on a page that contains whole custom resources."""
    for line, block in _numbered_blocks(page):
        if re.search(rf"^apiVersion: {GROUP}", block, flags=re.MULTILINE):
            yield Example(page.name, line, tuple(filter(None, yaml.safe_load_all(block))))


def _numbered_blocks(page: Path) -> Iterator[tuple[int, str]]:
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        yield text[: block.start()].count("\n") + 1, block[1]


EXAMPLES = [example for page in PAGES for example in examples(page)]
