"""Run the simulation in a process in which every seed replays exactly."""

import ctypes
import importlib
import os
import sys

_NO_ADDRESS_RANDOMIZATION = 0x0040000
"""Linux: ADDR_NO_RANDOMIZE, see personality(2)."""


def main() -> None:
    """Start again with fixed hashes, replace the clock, and run the command."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets must be the same in every process. Before Python 3.12, the hash of None is its
        # address (https://github.com/python/cpython/issues/99540).
        os.environ["PYTHONHASHSEED"] = "0"
        if sys.version_info < (3, 12) and sys.platform == "linux":
            ctypes.CDLL(None).personality(_NO_ADDRESS_RANDOMIZATION)
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    # The loop first: it replaces the clock, and the other modules keep references to it.
    for module in ("loop", "command"):
        importlib.import_module(f"{__package__}.{module}")
    sys.modules[f"{__package__}.command"].main()


if __name__ == "__main__":
    main()
