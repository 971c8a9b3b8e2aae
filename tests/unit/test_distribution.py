"""Which tests run on the same worker."""

import pytest

from tests.distribution import scope_of


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/e2e/test_a.py::test_b[embedded]", "tests/e2e on embedded"),
        ("tests/e2e/test_a.py::test_b[cut-embedded]", "tests/e2e on embedded"),
        ("tests/kube/test_a.py::test_b[kube-apiserver-kube-x]", "tests/kube on kube-apiserver"),
        ("tests/unit/test_a.py::test_b[not embedded]", "tests/unit/test_a.py::test_b[not embedded]"),
        ("tests/unit/test_a.py::test_b", "tests/unit/test_a.py::test_b"),
    ],
)
def test_tests_of_a_folder_on_a_server_belong_together(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope
