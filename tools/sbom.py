"""Write the SBOM of the Python packages in an image, in the CycloneDX format.

    python tools/sbom.py SITE_PACKAGES --output FILE

`SITE_PACKAGES` is the directory with the packages, copied from an image. The packages of
requirements/release.txt must be installed. The output is reproducible.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write(site_packages: Path, output: Path) -> None:
    """Describe the packages in a directory, with their licenses and dependencies."""
    with tempfile.TemporaryDirectory() as temporary:
        # CycloneDX reads the packages that a Python can import: those of this path only.
        environment = Path(temporary, "environment")
        venv.create(environment, symlinks=True)
        [own] = environment.glob("lib/python*/site-packages")
        (own / "image.pth").write_text(f"{site_packages.resolve()}\n", encoding="utf-8")
        subprocess.run(
            [
                *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
                *("--pyproject", ROOT / "pyproject.toml", "--output-file", output),
                environment / "bin" / "python",
            ],
            check=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    write(options.site_packages, options.output)
