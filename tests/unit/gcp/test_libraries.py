"""Client libraries of Google Cloud are loaded when they are first used."""

import subprocess
import sys


def printed(script: str) -> list[str]:
    """Return the words that a script prints in a new process."""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return ended.stdout.split()


def test_library_is_loaded_by_the_first_use_of_a_name() -> None:
    assert printed(
        "import sys; from cloudrun_identity.gcp.libraries import run_v2;"
        "loaded = 'google.cloud.run_v2.types';"
        "print(loaded in sys.modules); print(run_v2.Service.__name__); print(loaded in sys.modules)"
    ) == ["False", "Service", "True"]


def test_library_can_also_be_imported_directly() -> None:
    assert printed(
        "from cloudrun_identity.gcp import libraries; import google.cloud.run_v2;"
        "from google.cloud.run_v2.services.jobs import JobsAsyncClient;"
        "print(google.cloud.run_v2 is libraries.run_v2, libraries.run_v2.JobsAsyncClient is JobsAsyncClient)"
    ) == ["True", "True"]


def test_library_that_was_imported_before_is_the_same() -> None:
    assert printed(
        "from google.cloud import run_v2; from cloudrun_identity.gcp import libraries;"
        "print(libraries.run_v2 is run_v2)"
    ) == ["True"]
