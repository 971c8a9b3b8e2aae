"""Peak memory of processes, as Linux counts it."""

import re
import subprocess
import sys
from pathlib import Path

# What `cloudrun-identity run` imports before it does anything.
_IMPORTS = "from cloudrun_identity import handlers; from cloudrun_identity.runtime import logs, process"
_REPORT = "from pathlib import Path; print(Path('/proc/self/status').read_text())"


def peak(pid: int) -> float:
    """The most MiB that were ever resident of a running process."""
    return _high_water_mark(Path(f"/proc/{pid}/status").read_text())


def of_imports() -> float:
    """The most MiB of a process that imports what the operator does, and ends."""
    command = [sys.executable, "-c", f"{_IMPORTS}; {_REPORT}"]
    return _high_water_mark(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _high_water_mark(status: str) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError("no VmHWM in the status of the process")
    return int(found[1]) / 1024
