"""Which tests run on the same worker."""

import pytest

from tests.distribution import scope_of


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/kube/test_a.py::test_b[embedded]", "tests/kube on embedded"),
        ("tests/kube/test_a.py::test_b[cut-embedded]", "tests/kube on embedded"),
        ("tests/kube/test_a.py::test_b[kube-apiserver-kube-x]", "tests/kube on kube-apiserver"),
        ("tests/e2e/test_kills.py::test_b[embedded-cut]", "tests/e2e/test_kills.py on embedded"),
        ("tests/gcp/test_a.py::test_b[not embedded]", "tests/gcp/test_a.py::test_b[not embedded]"),
        ("tests/gcp/test_a.py::test_b", "tests/gcp/test_a.py::test_b"),
        ("tests/unit/test_a.py::test_b", "tests/unit/test_a.py"),
    ],
)
def test_tests_of_a_folder_on_a_server_belong_together(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope


def test_end_to_end_tests_are_dealt_out_by_file() -> None:
    scopes = {scope_of(f"tests/e2e/test_{number}.py::test_b[embedded]") for number in range(100)}

    assert scopes == {f"tests/e2e on embedded, part {part}" for part in range(2)}
    assert scope_of("tests/e2e/test_a.py::b[embedded]") == scope_of("tests/e2e/test_a.py::c[embedded]")
