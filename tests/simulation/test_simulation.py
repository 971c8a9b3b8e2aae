"""The simulation, as a process: its clock must be replaced before any other module is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.time_budget import HUNG_AFTER

ROOT = Path(__file__).parents[2]
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))
QUICK_SEEDS = "0:3"
"""Histories of `make test`, about three seconds of an idle processor."""
FOUND_BY = {
    "ledger-not-written-ahead": (15, "a ledger records as another client's"),
    "policy-written-without-etag": (7, "removed a grant of others"),
    "lease-ignored": (0, "but operator-1 holds the Lease"),
    "finalizer-removed-early": (10, "left: "),
    "conflict-taken-for-success": (15, "left: "),
    "deletions-not-seen": (4, "is still being deleted"),
    "unmanaged-members-removed": (1, "removed a grant of others"),
    "status-ahead": (0, "a generation 2 that does not exist"),
    "account-not-undeleted": (7, "still writing"),
    "resync-off": (2, "missing: "),
}
"""By planted fault, a seed that finds it, and what it finds.

Both change with the generator: `--planted NAME` searches.
"""


def simulate(*options: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # With a low priority: the operators of other tests renew a Lease in time, and this clock is virtual.
        ["nice", "-n", "19", sys.executable, "-m", "tests.simulation", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=HUNG_AFTER,
        check=False,
    )


def test_histories_violate_no_invariant() -> None:
    done = simulate("--seeds", QUICK_SEEDS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_seed_replays_exactly_in_another_process() -> None:
    first = simulate("--seeds", "7:9", "--digest", hash_seed="1")
    second = simulate("--seeds", "6:9", "--digest", hash_seed="2")  # after another history
    digests = [line for line in first.stdout.splitlines() if line.startswith(("7 ", "8 "))]
    assert len(digests) == 2, first.stdout + first.stderr
    assert digests == [line for line in second.stdout.splitlines() if line.startswith(("7 ", "8 "))]


def test_history_of_the_corpus_says_what_it_found() -> None:
    assert CORPUS
    for path in CORPUS:
        assert json.loads(path.read_text())["found"], path


def test_corpus_violates_no_invariant() -> None:
    done = simulate("--file", *map(str, CORPUS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("fault", FOUND_BY)
def test_planted_fault_is_found(fault: str) -> None:
    seed, violation = FOUND_BY[fault]
    done = simulate("--planted", fault, "--first", str(seed), "--limit", "3")
    assert done.returncode == 0, f"search from another seed: {done.stdout}{done.stderr}"
    assert f"{fault}: found after" in done.stdout
    assert violation in done.stdout


@pytest.mark.slow
def test_edited_object_ends_like_a_new_one() -> None:
    done = simulate(
        "--transitions", "CustomRole", "IdentityAttachment", "IdentityKey", "IAMBinding/team-a/writers"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_more_histories_violate_no_invariant() -> None:
    done = simulate("--seeds", "100:130")
    assert done.returncode == 0, done.stdout + done.stderr
