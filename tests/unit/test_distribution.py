"""Distribution of tests over workers: scopes that run together, and their order."""

import pytest

from tests.distribution import STAGES, next_scope, scope_of


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/kube/test_a.py::test_b[embedded]", "tests/kube on embedded"),
        ("tests/kube/test_a.py::test_b[cut-embedded]", "tests/kube on embedded"),
        ("tests/kube/test_a.py::test_b[kube-apiserver-kube-x]", "tests/kube on kube-apiserver"),
        ("tests/e2e/test_a.py::test_b[embedded-cut]", "tests/e2e/test_a.py on embedded"),
        ("tests/e2e/test_a.py::test_b", "tests/e2e/test_a.py::test_b"),
        ("tests/gcp/test_a.py::test_b[not embedded]", "tests/gcp/test_a.py::test_b[not embedded]"),
        ("tests/gcp/test_a.py::test_b", "tests/gcp/test_a.py::test_b"),
        ("tests/unit/test_a.py::test_b", "tests/unit/test_a.py"),
        ("tests/test_image.py::test_b", "tests/test_image.py"),
        ("tests/test_packages.py::test_b[wheel]", "tests/test_packages.py"),
        ("playground/tests/demo/test_a.py::test_b", "playground/tests/demo/test_a.py"),
        ("playground/tests/kubeapi/test_a.py::test_b[embedded]", "playground/tests/kubeapi on embedded"),
    ],
)
def test_tests_of_a_folder_on_one_server_share_a_scope(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope


KUBE, UNIT = "tests/kube on embedded", "tests/unit/test_a.py"
GRANTS, KEYS = (f"tests/e2e/{name}.py on embedded" for name in ("test_grants", "test_keys"))
GRANTS_ELSEWHERE = "tests/e2e/test_grants.py on kube-apiserver"
ENOUGH = ["embedded"] * STAGES


@pytest.mark.parametrize(
    ("waiting", "stage", "others", "chosen"),
    [
        ([KUBE, GRANTS, KEYS], "", [], KEYS),
        ([KUBE, GRANTS], "", ENOUGH[1:], GRANTS),
        ([KUBE, GRANTS], "", ENOUGH, KUBE),
        ([KUBE, GRANTS, GRANTS_ELSEWHERE], "", ENOUGH, GRANTS_ELSEWHERE),
        ([KUBE, GRANTS_ELSEWHERE, GRANTS], "embedded", ENOUGH[1:], GRANTS),
        ([GRANTS_ELSEWHERE, UNIT], "embedded", ENOUGH[1:], UNIT),
        ([GRANTS_ELSEWHERE], "embedded", ENOUGH[1:], GRANTS_ELSEWHERE),
    ],
    ids=[
        "end-to-end tests first, the longest file first",
        "another stage if there are too few",
        "no other stage if there are enough",
        "stages are counted per server",
        "a worker keeps its stage",
        "no new stage while other tests remain",
        "every scope is taken",
    ],
)
def test_worker_takes_the_next_scope(waiting: list[str], stage: str, others: list[str], chosen: str) -> None:
    assert next_scope(waiting, stage, others) == chosen
