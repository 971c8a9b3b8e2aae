"""Write docs/reference/third-party.md: the packages in the container image, with their licenses.

    python -m tools.third_party >docs/reference/third-party.md

The packages are those of requirements/image.txt. Their metadata is that of the installed packages. The
licenses are SPDX expressions. A license that `LICENSES` does not contain is an error: review it first.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tools.ui_libraries import LIBRARIES

IMAGE = Path(__file__).parents[1] / "requirements" / "image.txt"

LICENSES = frozenset(
    {
        "Apache-2.0",
        "Apache-2.0 AND BSD-2-Clause",
        "Apache-2.0 AND MIT",
        "Apache-2.0 OR BSD-3-Clause",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
    }
)
"""Licenses that permit distribution in the image, as the image contains the license texts."""

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
}
"""SPDX identifiers of names in the metadata of older packages."""

EXCEPTIONS = {"pyasn1-modules": "BSD-2-Clause"}
"""Packages with an ambiguous license in the metadata, with that of their license file."""

PREAMBLE = """\
# Third-party licenses

The container image contains these Python packages. The text of each license is in the image, in \
`/opt/cloudrun-identity/lib/python3.11/site-packages/NAME-VERSION.dist-info`. The base image \
`python:3.11-slim` adds Python and Debian packages, with their licenses in `/usr/share/doc`. \
Each release has an SBOM in the CycloneDX format.

`make generate` writes this page from the metadata of the packages.

| package | version | license |
|---|---|---|
"""

LIBRARIES_PREAMBLE = """
## JavaScript

The [web page](../how-to/ui.md) contains these libraries, as published in the npm registry. \
`tools/ui_libraries.py` copies them. The text of each license is beside them, in \
`cloudrun_identity/ui/static/vendor`.

| library | version | license | use |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Package:
    """A package of the image."""

    name: str
    version: str
    license: str


class UnknownLicenseError(Exception):
    """A package has a license that is not in LICENSES, or no license text."""


def packages() -> Iterator[Package]:
    """Yield the packages of the image. Raise `UnknownLicenseError` for a license that was not reviewed."""
    for name in re.findall(r"^(\S+)==", IMAGE.read_text(encoding="utf-8"), re.MULTILINE):
        installed = distribution(name)
        found = EXCEPTIONS.get(name) or _license(installed)
        if found not in LICENSES:
            raise UnknownLicenseError(f"{name}: review the license {found!r}, then add it to LICENSES")
        if not _has_text(installed):
            raise UnknownLicenseError(f"{name}: the distribution contains no license text")
        yield Package(name, installed.version, found)


def _license(installed: Distribution) -> str:
    fields = installed.metadata.json
    stated = str(fields.get("license_expression") or fields.get("license", ""))
    return SPDX.get(stated, stated)


def _has_text(installed: Distribution) -> bool:
    return any(
        re.search(r"\.dist-info/(.*/)?(LICEN[CS]E|COPYING)", str(file)) for file in installed.files or ()
    )


def page() -> str:
    """Return the text of the page."""
    return (
        PREAMBLE
        + "".join(f"| {each.name} | {each.version} | {each.license} |\n" for each in packages())
        + LIBRARIES_PREAMBLE
        + "".join(
            f"| {each.name} | {each.version} | {each.license} | {each.purpose} |\n" for each in LIBRARIES
        )
    )


if __name__ == "__main__":
    sys.stdout.write(page())
