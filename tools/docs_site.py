"""Build the documentation site: `python -m tools.docs_site OUTPUT`, or `make docs`.

The site is built from docs/ by Zensical, in its strict mode: a link to a page or heading that does not exist
is an error. Links from docs/ to other files of the repository lead to the repository on GitHub.
`zensical.toml` has the navigation and the theme.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CONFIG: Final = "zensical.toml"
REPOSITORY: Final = "https://github.com/cloudrun-identity/cloudrun-identity"
_LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
_FENCE: Final = re.compile(r"^( *```.*?^ *```)$", re.DOTALL | re.MULTILINE)
_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """The site was not built. The text is the output of Zensical."""


def build(output: Path, docs: Path = ROOT / "docs") -> None:
    """Build the site into a folder, which is replaced.

    Raises BuildError: a link is broken, or Zensical failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        stage(docs, source)
        finished = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict"],
            cwd=source,
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            raise BuildError(_COLOR.sub("", finished.stdout + finished.stderr))
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(source / "site", output)


def stage(docs: Path, source: Path) -> None:
    """Copy the configuration and the pages to a folder, with links out of docs/ made absolute."""
    shutil.copyfile(ROOT / CONFIG, source / CONFIG)
    shutil.copytree(docs, source / "docs")
    for page in (source / "docs").rglob("*.md"):
        folder = docs / page.relative_to(source / "docs").parent
        page.write_text(with_absolute_links(page.read_text(encoding="utf-8"), folder, docs), encoding="utf-8")


def with_absolute_links(text: str, folder: Path, docs: Path) -> str:
    """Return a page of `folder` whose links to files outside of `docs` lead to the repository."""

    def absolute(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        if target.is_relative_to(docs) or not target.exists():
            return link[1]  # Zensical reports a link to a page that does not exist
        kind = "tree" if target.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{target.relative_to(docs.parent).as_posix()}"

    parts = _FENCE.split(text)  # prose and blocks of code in turn
    return "".join(part if part.lstrip().startswith("```") else _LINK.sub(absolute, part) for part in parts)


def main() -> None:
    """Build the site, or print why it was not built."""
    [output] = sys.argv[1:]
    try:
        build(Path(output))
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
