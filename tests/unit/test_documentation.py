"""Links between pages resolve, and the developer documentation names files that exist."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("playground/*.md")]
    if page.is_file()
)
DEVELOPER_PAGES = [page for page in PAGES if page.is_relative_to(ROOT / "docs" / "dev")]
PRODUCT = ROOT / "operator" / "cloudrun_identity"


def _prose(page: Path) -> str:
    return re.sub(r"^(```|~~~).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> Iterator[str]:
    """Yield the anchor that GitHub makes of each heading."""
    for heading in re.findall(r"^#+ (.*)$", _prose(page), flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        yield re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_and_anchors_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and linked.suffix == ".md" and anchor not in set(_anchors(linked))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", DEVELOPER_PAGES, ids=lambda page: page.name)
def test_developer_pages_name_files_that_exist(page: Path) -> None:
    named = re.findall(r"`([\w.-]+/(?:[\w.-]+/)*(?:[\w.-]+\.(?:py|yaml|toml|md))?)`", _prose(page))
    missing = [path for path in named if not any((base / path).exists() for base in (ROOT, PRODUCT))]
    assert missing == []


def test_links_and_pictures_on_the_package_index_are_absolute() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"][
        "metadata"
    ]
    text = (ROOT / "README.md").read_text(encoding="utf-8") + '\n<img src="docs/images/picture.png">\n'
    for substitution in settings["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    links = re.findall(r"\]\(([^)\s]+)\)|\b(?:src|srcset)=\"([^\"]+)\"", text)
    assert [link for pair in links for link in pair if link and not re.match(r"https:|#", link)] == []
    assert "/raw.githubusercontent.com/" not in "".join(link for link, _ in links)
    assert links[-1][1].endswith("/v$HFPR_VERSION/docs/images/picture.png")


def test_picture_of_the_readme_exists_for_each_theme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"\b(?:src|srcset)=\"([^\"]+)\"", text)
    assert [picture for picture in pictures if not (ROOT / picture).is_file()] == []


def test_glossary_has_each_term_once_in_alphabetical_order() -> None:
    glossary = (ROOT / "docs" / "dev" / "glossary.md").read_text(encoding="utf-8")
    _, *terms = re.findall(r"^\| ([^|]+) \|", glossary, flags=re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
