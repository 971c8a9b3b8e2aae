"""Object names that are derived from the declared resource."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TargetKind
from cloudrun_identity.exporting.names import distinct, kind_words, object_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def test_parts_are_joined_into_an_object_name() -> None:
    assert object_name("WorkerPool", "europe-west1", "queue", "", "run.invoker") == (
        "worker-pool-europe-west1-queue-run-invoker"
    )
    assert object_name("prefectRunner") == "prefect-runner"


def test_acronym_at_the_start_of_a_kind_is_a_word() -> None:
    names = {kind: object_name(kind_words(kind)) for kind in TargetKind}
    assert names[TargetKind.KMS_CRYPTO_KEY] == "kms-crypto-key"
    assert names[TargetKind.KMS_KEY_RING] == "kms-key-ring"
    assert names[TargetKind.PUB_SUB_TOPIC] == "pub-sub-topic"
    assert names[TargetKind.PROJECT] == "project"


@given(st.lists(st.text(), max_size=4))
def test_name_of_any_text_is_valid(parts: list[str]) -> None:
    assert LABEL.fullmatch(object_name(*parts))


def test_equal_names_get_distinct_suffixes() -> None:
    names = distinct({1: ("a.b",), 2: ("a-b",), 3: ("c",)})

    assert names[1] != names[2]
    assert names[3] == "c"
    assert all(map(LABEL.fullmatch, names.values()))
    assert distinct({2: ("a-b",), 1: ("a.b",), 3: ("c",)}) == names
