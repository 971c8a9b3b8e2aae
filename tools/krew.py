"""Writes the plugin archive and the manifest for krew, the plugin manager of kubectl.

Usage: python -m tools.krew DIRECTORY

The plugin is a script: it runs the `cloudrun-identity` of the PATH, or else that of pipx or uv. The form of
the manifest: https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest.
"""

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

from cloudrun_identity import __version__

ROOT = Path(__file__).parents[1]
NAME = "cloudrun-identity"
HOMEPAGE = "https://github.com/cloudrun-identity/cloudrun-identity"
ARCHIVE = f"kubectl-{NAME}.tar.gz"

SCRIPT = f"""#!/bin/sh
# Run cloudrun-identity {__version__} as a plugin of kubectl.
set -eu
if command -v cloudrun-identity >/dev/null; then exec cloudrun-identity "$@"; fi
if command -v pipx >/dev/null; then exec pipx run --quiet cloudrun-identity=={__version__} "$@"; fi
if command -v uvx >/dev/null; then exec uvx --quiet cloudrun-identity@{__version__} "$@"; fi
echo "cloudrun-identity is not installed: pipx install cloudrun-identity=={__version__}" >&2
exit 127
"""


def archive() -> bytes:
    """Return the archive: the script and the license. Equal inputs give equal bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text, mode in (
            (f"kubectl-{NAME}", SCRIPT.encode(), 0o755),
            ("LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), mode
            tar.addfile(member, io.BytesIO(text))
    return gzip.compress(packed.getvalue(), mtime=0)


def manifest(packed: bytes) -> dict[str, Any]:
    """Return the plugin manifest for an archive of the release."""
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{_semantic(__version__)}",
            "homepage": HOMEPAGE,
            "shortDescription": "Show and plan Cloud Run identities",
            "description": (
                "Shows which objects of the Cloud Run identity operator need attention, who may act as an\n"
                "identity, and what manifests would change in Google Cloud.\n"
            ),
            "caveats": f"Needs Python 3.11 and the package: pipx install {NAME}=={__version__}\n",
            "platforms": [
                {
                    "selector": {
                        "matchExpressions": [{"key": "os", "operator": "In", "values": ["darwin", "linux"]}]
                    },
                    "uri": f"{HOMEPAGE}/releases/download/v{__version__}/{ARCHIVE}",
                    "sha256": hashlib.sha256(packed).hexdigest(),
                    "bin": f"kubectl-{NAME}",
                }
            ],
        },
    }


def _semantic(version: str) -> str:
    """Return a version of PEP 440 as a semantic version: `0.1.0a1` becomes `0.1.0-alpha.1`."""
    for short, name in (("rc", "rc"), ("a", "alpha"), ("b", "beta")):
        before, found, number = version.partition(short)
        if found:
            return f"{before}-{name}.{number}"
    return version


def main() -> None:
    """Write the archive and the manifest into the directory that is named on the command line."""
    directory, packed = Path(sys.argv[1]), archive()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ARCHIVE).write_bytes(packed)
    text = yaml.safe_dump(manifest(packed), sort_keys=False)
    (directory / f"{NAME}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
