"""Names of objects, made of what they declare."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.exporting.names import distinct, object_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def test_words_are_joined_as_kubernetes_takes_them() -> None:
    assert object_name("WorkerPool", "europe-west1", "queue", "", "run.invoker") == (
        "worker-pool-europe-west1-queue-run-invoker"
    )
    assert object_name("prefectRunner") == "prefect-runner"


@given(st.lists(st.text(), max_size=4))
def test_whatever_it_is_made_of_it_is_a_name(parts: list[str]) -> None:
    assert LABEL.fullmatch(object_name(*parts))


def test_things_that_would_be_called_the_same_are_told_apart() -> None:
    names = distinct({1: ("a.b",), 2: ("a-b",), 3: ("c",)})

    assert names[1] != names[2]
    assert names[3] == "c"
    assert all(map(LABEL.fullmatch, names.values()))
    assert distinct({2: ("a-b",), 1: ("a.b",), 3: ("c",)}) == names
