"""Run histories, and report those that violate an invariant."""

import argparse
import itertools
import logging
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from . import planted, runner, steps
from .coverage import Coverage
from .generator import generate
from .result import Result
from .shrink import shrunk
from .steps import History
from .transitions import transitions


def main() -> None:
    """Run the histories that the options select. Exit with 1 if one violates an invariant."""
    options = _options()
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("cloudrun_identity").setLevel(logging.INFO)
    if options.planted:
        sys.exit(_plant(options))
    if options.transitions is not None:
        sys.exit(_check_transitions(options.transitions))
    coverage = Coverage()
    bad = 0
    for history, result in _results(options):
        coverage.add(result)
        if options.trace:
            print("\n".join(result.trace))
        if options.digest:
            print(history.seed, result.digest())
        if result.violations:
            bad += 1
            _report(history, result, options)
        if progress := coverage.progress(bad):
            print(progress, flush=True)
    print(coverage.summary(bad))
    sys.exit(bool(bad))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--seeds", default="0:20", help="FIRST:LAST, or one seed")
    chosen.add_argument("--minutes", type=float, help="run new histories for this time")
    chosen.add_argument("--file", type=Path, nargs="+", help="run the histories of files")
    chosen.add_argument(
        "--transitions",
        metavar="OBJECT",
        nargs="*",
        help="compare every edit of the specs of all objects, or of some, with a new object",
    )
    chosen.add_argument(
        "--planted", metavar="FAULT", help="plant a fault, or all, and count the histories until it is found"
    )
    parser.add_argument(
        "--first", type=int, help="the first seed of --minutes and --planted; by default the time"
    )
    parser.add_argument("--limit", type=int, default=2_000, help="the most histories for a planted fault")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--digest", action="store_true", help="print a digest of everything that happens")
    parser.add_argument("--shrink", action="store_true", help="print the shortest history that fails too")
    return parser.parse_args()


def _results(options: argparse.Namespace) -> Iterator[tuple[History, Result]]:
    if options.minutes:
        first = int(time.time()) if options.first is None else options.first
        end = time.perf_counter() + options.minutes * 60
        return _run_all(
            map(generate, itertools.takewhile(lambda _: time.perf_counter() < end, itertools.count(first))),
            options.jobs,
        )
    if options.file:
        return _run_all([steps.from_json(path.read_text()) for path in options.file], options.jobs)
    return _run_all(map(generate, _seeds(options.seeds)), options.jobs)


def _run_all(histories: Iterable[History], jobs: int) -> Iterator[tuple[History, Result]]:
    """Run histories, and yield their results in order."""
    if jobs == 1:
        for history in histories:
            yield history, runner.run(history)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running = []
        for history in histories:
            running.append((history, pool.submit(runner.run, history)))
            if len(running) >= 2 * jobs:
                first, result = running.pop(0)
                yield first, result.result()
        for first, result in running:
            yield first, result.result()


def _report(history: History, result: Result, options: argparse.Namespace) -> None:
    print(f"seed {history.seed}: {len(history.steps)} steps {history.found}")
    for violation in result.violations[:8]:
        print(f"    {violation}")
    if options.shrink:
        print(steps.to_json(replace(shrunk(history, result.violations), found=result.violations[0])))
    sys.stdout.flush()


def _plant(options: argparse.Namespace) -> int:
    names = list(planted.FAULTS) if options.planted == "all" else [options.planted]
    missed = 0
    for name in names:
        found = next(_found(name, options.first or 0, options.limit), None)
        missed += found is None
        print(f"{name}: {found or f'not found in {options.limit} histories'}", flush=True)
    return bool(missed)


def _found(name: str, first: int, limit: int) -> Iterator[str]:
    """Yield how a planted fault was found, by histories that violate nothing without it."""
    for count in range(1, limit + 1):
        history = generate(first + count - 1)
        with planted.FAULTS[name]():
            violations = runner.run(history).violations
        if violations and not runner.run(history).violations:
            yield "\n    ".join((f"found after {count} histories:", *violations))


def _check_transitions(prefixes: Sequence[str]) -> int:
    bad = count = 0
    for name, differences in transitions(prefixes):
        count += 1
        bad += bool(differences)
        for difference in differences:
            print(f"{name}: {difference}", flush=True)
    print(f"{count} transitions, {bad} end unlike a new object")
    return bool(bad or not count)


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last or int(first) + 1))
