"""The files of requirements/, which pip-compile writes."""

import re
from pathlib import Path

from packaging.utils import canonicalize_name


def hashed(path: Path) -> dict[str, tuple[str, int]]:
    """Return the version and the number of hashes of each package in a file that pip-compile wrote."""
    entries = re.findall(
        r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$",
        path.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return {canonicalize_name(name): (version, hashes.count("--hash")) for name, version, hashes in entries}
