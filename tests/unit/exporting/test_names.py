"""Object names that are derived from the declared resource."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.exporting.names import distinct, object_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def test_parts_are_joined_into_an_object_name() -> None:
    assert object_name("WorkerPool", "europe-west1", "queue", "", "run.invoker") == (
        "worker-pool-europe-west1-queue-run-invoker"
    )
    assert object_name("prefectRunner") == "prefect-runner"


@given(st.lists(st.text(), max_size=4))
def test_name_of_any_text_is_valid(parts: list[str]) -> None:
    assert LABEL.fullmatch(object_name(*parts))


def test_equal_names_get_distinct_suffixes() -> None:
    names = distinct({1: ("a.b",), 2: ("a-b",), 3: ("c",)})

    assert names[1] != names[2]
    assert names[3] == "c"
    assert all(map(LABEL.fullmatch, names.values()))
    assert distinct({2: ("a-b",), 1: ("a.b",), 3: ("c",)}) == names
