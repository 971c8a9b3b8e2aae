"""Memory and processor time of processes, as Linux counts them."""

import os
import re
import subprocess
import sys
from pathlib import Path

# The imports of `cloudrun-identity run`.
_IMPORTS = "from cloudrun_identity import handlers; from cloudrun_identity.manager import logs, process"
_REPORT = "from pathlib import Path; print(Path('/proc/self/status').read_text())"


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a running process has used."""
    # The program name in brackets may contain any text. Fields 14 and 15 are user and system time.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    """Return the peak resident memory of a running process in MiB."""
    return _mib(Path(f"/proc/{pid}/status").read_text(), "VmHWM")


def resident_memory(pid: int) -> float:
    """Return the present resident memory of a running process in MiB."""
    return _mib(Path(f"/proc/{pid}/status").read_text(), "VmRSS")


def memory_of_imports() -> float:
    """Return the peak resident memory in MiB of a process with only the imports of the operator."""
    command = [sys.executable, "-c", f"{_IMPORTS}; {_REPORT}"]
    return _mib(subprocess.run(command, check=True, capture_output=True, text=True).stdout, "VmHWM")


def _mib(status: str, field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {field} in the status of the process")
    return int(found[1]) / 1024
