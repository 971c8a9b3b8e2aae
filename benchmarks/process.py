"""Memory and processor time of processes, as Linux counts them."""

import os
import re
import subprocess
import sys
from pathlib import Path

# What `cloudrun-identity run` imports before it does anything.
_IMPORTS = "from cloudrun_identity import handlers; from cloudrun_identity.manager import logs, process"
_REPORT = "from pathlib import Path; print(Path('/proc/self/status').read_text())"


def cpu_seconds(pid: int) -> float:
    """Processor time that a running process has taken so far."""
    # The name of the program, in brackets, may hold anything; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    """The most MiB that were ever resident of a running process."""
    return _high_water_mark(Path(f"/proc/{pid}/status").read_text())


def memory_of_imports() -> float:
    """The most MiB of a process that imports what the operator does, and ends."""
    command = [sys.executable, "-c", f"{_IMPORTS}; {_REPORT}"]
    return _high_water_mark(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _high_water_mark(status: str) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError("no VmHWM in the status of the process")
    return int(found[1]) / 1024
