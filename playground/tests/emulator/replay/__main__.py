"""Print one line for each difference between recordings and the emulator; exit 1 if there are any.

Run `python -m playground.tests.emulator.replay FILE…`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from . import RecordingError, replay


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m playground.tests.emulator.replay", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="*.http.log or *.vcr.yaml")
    status = 0
    for file in parser.parse_args().files:
        try:
            report = asyncio.run(replay(file))
        except RecordingError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        sys.stdout.write(f"{file.name}: {report.equal} of {report.compared} answers equal\n")
        for difference, place in sorted(report.differences.items()):
            sys.stdout.write(f"  {difference}  (first at {place})\n")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
