"""Run the simulation. Every seed replays exactly, in every process."""

import importlib
import sys


def main() -> None:
    """Replace the clock, and run the command."""
    # The loop first: it replaces the clock, and the other modules keep references to it.
    for module in ("loop", "command"):
        importlib.import_module(f"{__package__}.{module}")
    sys.modules[f"{__package__}.command"].main()


if __name__ == "__main__":
    main()
