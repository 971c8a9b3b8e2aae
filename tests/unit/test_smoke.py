"""The selection of tests for `make test`."""

from pathlib import Path

import pytest

from tests.smoke import LEFT_OUT, SMOKE_FILES, is_smoke_test

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("nodeid", "selected"),
    [
        ("tests/unit/test_a.py::test_b", True),
        ("tests/e2e/test_keys.py::test_b[embedded]", True),
        ("tests/e2e/test_keys.py::test_b[kube-apiserver]", False),
        ("tests/e2e/test_grants.py::test_b[kube-apiserver]", True),
        ("tests/kube/test_client.py::test_b[kube-apiserver-other]", True),
        ("playground/tests/kubeapi/test_crds.py::test_b[kube-apiserver-other]", False),
    ],
)
def test_only_smoke_files_run_on_the_real_api_server(nodeid: str, selected: bool) -> None:
    assert is_smoke_test(nodeid) is selected


def test_all_smoke_files_exist() -> None:
    assert [file for file in sorted(SMOKE_FILES) if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("marker", sorted(LEFT_OUT))
def test_marked_tests_are_left_out(marker: str) -> None:
    assert is_smoke_test("tests/e2e/test_grants.py::test_grant[embedded]", {"parametrize"})
    assert not is_smoke_test("tests/e2e/test_grants.py::test_grant[embedded]", {"parametrize", marker})
