"""Copy the JavaScript libraries of the web page from the npm registry into the repository.

    python -m tools.ui_libraries

The page is served as it is in the repository: no build and no other host is needed at run time. The libraries
are ES modules of a pinned version. Only an import of another library by its bare name is changed, because an
import map would be an inline script, which the Content-Security-Policy of the page forbids.
"""

import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "operator" / "cloudrun_identity" / "ui" / "static" / "vendor"


@dataclass(frozen=True)
class Library:
    """One package of the npm registry."""

    name: str
    """Name of the package."""
    version: str
    """Version."""
    integrity: str
    """SHA-512 of the package, as the registry states it."""
    license: str
    """SPDX identifier of the license."""
    purpose: str
    """Use of the library in the page."""
    files: tuple[tuple[str, str], ...]
    """Path in the package and name in the repository of each file."""

    @property
    def license_file(self) -> str:
        """Name of the file with the text of the license."""
        return f"{self.name}.LICENSE"


LIBRARIES = (
    Library(
        "preact",
        "11.2.0",
        "/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        "MIT",
        "rendering",
        (("dist/preact.mjs", "preact.mjs"), ("hooks/dist/hooks.mjs", "preact-hooks.mjs")),
    ),
    Library(
        "htm",
        "3.1.1",
        "983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        "Apache-2.0",
        "templates without a build",
        (("dist/htm.module.js", "htm.mjs"),),
    ),
)

IMPORTS = {"preact": "./preact.mjs"}
"""Files in the repository by the names under which the libraries import each other."""


def main() -> None:
    """Write the files of all libraries."""
    for library in LIBRARIES:
        with tempfile.TemporaryDirectory() as folder:
            package = f"{library.name}@{library.version}"
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=sys.stderr)
            (archive,) = Path(folder).glob("*.tgz")
            digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if digest != library.integrity:
                sys.exit(f"{package}: the SHA-512 is {digest}, not {library.integrity}")
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
            source = Path(folder) / "package"
            for path, name in library.files:
                (VENDOR / name).write_text(_adapted((source / path).read_text("utf-8")), "utf-8")
            (VENDOR / library.license_file).write_bytes((source / "LICENSE").read_bytes())
        print(f"{package}: {', '.join(name for _, name in library.files)}")


def _adapted(module: str) -> str:
    """Return a module with relative imports and without the name of its source map."""
    for name, path in IMPORTS.items():
        module = re.sub(rf'(from\s*|import\s*)"{name}"', rf'\1"{path}"', module)
    return re.sub(r"\n//# sourceMappingURL=.*\n?", "\n", module)


if __name__ == "__main__":
    main()
