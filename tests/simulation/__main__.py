"""Run histories: `python -m tests.simulation --seeds 0:100`."""

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import loop  # noqa: F401 - first: it replaces the clock that other modules import
from . import runner, steps
from .shrink import shrunk


def main() -> None:
    """Run the histories of the given seeds. Exit with 1 if one violates an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:20", help="FIRST:LAST, or one seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--file", type=Path, help="run the history of a file")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--shrink", action="store_true", help="print the shortest history that fails too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO if options.trace else logging.CRITICAL)
    if options.file:
        histories = [steps.from_json(options.file.read_text())]
    else:
        first, _, last = options.seeds.partition(":")
        histories = [steps.generate(seed) for seed in range(int(first), int(last or int(first) + 1))]
    started = time.perf_counter()
    bad, reached, checkpoints = 0, Counter[str](), Counter[str]()
    with ProcessPoolExecutor(options.jobs) as pool:
        results = map(runner.run, histories) if options.jobs == 1 else pool.map(runner.run, histories)
        for history, result in zip(histories, results, strict=True):
            bad += bool(result.violations)
            reached += result.reached
            checkpoints += result.checkpoints
            if options.trace:
                print("\n".join(sorted([*result.trace, *result.log])))
            if result.violations:
                print(f"seed {history.seed}: {len(history.steps)} steps")
                for violation in result.violations:
                    print(f"    {violation}")
                if options.shrink:
                    print(steps.to_json(shrunk(history)))
            sys.stdout.flush()
    seconds = time.perf_counter() - started
    print(f"{len(histories)} histories, {bad} with violations, {len(histories) / seconds * 60:.0f} a minute")
    print("steps:", ", ".join(f"{name} {count}" for name, count in sorted(reached.items())))
    print("checkpoints:", ", ".join(f"{name} {count}" for name, count in sorted(checkpoints.items())))
    sys.exit(bool(bad))


main()
