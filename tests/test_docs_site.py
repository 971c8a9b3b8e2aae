"""The documentation site is built from docs/ without a broken link, and works offline."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documented import ROOT
from tools import docs_site

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the site of this repository."""
    output = tmp_path_factory.mktemp("site") / "docs"
    docs_site.build(output)
    return output


def html_of(site: Path, page: str) -> Path:
    """Return the file of a page in the site."""
    return site / re.sub(r"\bREADME\.md$", "index.md", page).replace(".md", ".html")


def navigation(entries: list[Any]) -> Iterator[str]:
    """Yield the pages of a part of the navigation, in order."""
    for entry in entries:
        match entry:
            case str():
                yield entry
            case {**named}:
                for part in named.values():
                    yield from navigation(part if isinstance(part, list) else [part])


def test_site_has_every_page_and_a_search_index(site: Path) -> None:
    assert [page for page in PAGES if not html_of(site, page).is_file()] == []
    assert "CloudRunIdentity" in (site / "search.json").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(?:https?:)?//[^>]*>"
        r"|<link\b[^>]*\brel=\"?(?:stylesheet|preconnect|preload|icon)\b[^>]*\bhref=\"?(?:https?:)?//[^>]*>"
        r"|@import\s[^;]*//[^;]*;"
        r"|class=\"?mermaid|data-md-component=\"?source\b"  # scripts of other hosts, the API of GitHub
    )
    found = {
        path.relative_to(site).as_posix(): match[0]
        for path in site.rglob("*.html")
        if (match := loaded.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_site_has_a_dark_and_a_light_theme(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'data-md-color-scheme="?(\w+)', text)) >= {"default", "slate"}


def test_navigation_has_every_page_once() -> None:
    config = tomllib.loads((ROOT / docs_site.CONFIG).read_text(encoding="utf-8"))
    assert sorted(navigation(config["project"]["nav"])) == PAGES


def test_broken_link_stops_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs)
    with (docs / "README.md").open("a", encoding="utf-8") as page:
        page.write("\n[page](how-to/absent.md) [heading](how-to/keys.md#absent)\n")
    with pytest.raises(docs_site.BuildError) as raised:
        docs_site.build(tmp_path / "site", docs)
    assert "page does not exist" in str(raised.value)
    assert "anchor does not exist" in str(raised.value)
    assert "README.md" in str(raised.value)
    assert not (tmp_path / "site").exists()


def test_links_out_of_the_docs_lead_to_the_repository() -> None:
    text = "[a](../../LICENSE) [b](../../examples) [c](keys.md#rotation) [d](https://example.com)\n"
    code = "```\n[e](../../LICENSE)\n```\n"
    repository = docs_site.REPOSITORY
    assert docs_site.with_absolute_links(text + code, DOCS / "how-to", DOCS) == (
        f"[a]({repository}/blob/main/LICENSE) [b]({repository}/tree/main/examples) "
        f"[c](keys.md#rotation) [d](https://example.com)\n{code}"
    )
