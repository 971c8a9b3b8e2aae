from copy import deepcopy
from functools import cache

import pytest

from cloudrun_identity.api import crd
from cloudrun_identity.kube.resources import Object
from cloudrun_identity_playground.demo import drift, manifests
from cloudrun_identity_playground.demo.cluster import Subject
from cloudrun_identity_playground.demo.google import parse_state
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.seed_file import load_seed
from cloudrun_identity_playground.emulator.snapshot import snapshot
from cloudrun_identity_playground.kubeapi.schema import Schema, prune
from cloudrun_identity_playground.kubeapi.validation import validate

FEED = "projects/acme-ledger/subscriptions/changes"
OBJECTS = [obj for name in manifests.EXAMPLES for obj in manifests.load(name, FEED).objects]
OURS = [obj for obj in OBJECTS if obj["kind"] != "Namespace"]


@cache
def schema_of(kind: str) -> Schema:
    (version,) = crd.generate()[kind]["spec"]["versions"]
    return Schema.parse(version["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("obj", OURS, ids=lambda obj: str(Subject.of(obj)))
def test_examples_match_the_schemas(obj: Object) -> None:
    schema = schema_of(obj["kind"])

    assert prune(deepcopy(obj), schema) == [], "fields that the schema does not have"
    assert list(validate(obj, schema)) == []


def test_namespaces_come_before_their_objects() -> None:
    made: set[str] = set()
    for obj in OBJECTS:
        if obj["kind"] == "Namespace":
            made.add(obj["metadata"]["name"])
        assert obj["metadata"].get("namespace") in {None, *made}


def test_change_feed_is_set_in_every_project() -> None:
    feeds = [obj["spec"]["changeFeed"] for obj in OURS if obj["kind"] == "ManagedProject"]

    assert feeds == [{"subscription": FEED, "reportActors": True}] * 3


def test_projects_of_the_examples_are_listed_once() -> None:
    assert manifests.projects(*manifests.EXAMPLES) == ("acme-flows", "acme-shop", "acme-ledger")


def test_seed_has_all_workloads_of_the_attachments() -> None:
    emulator = Emulator(seed=load_seed(manifests.SEED))
    seeded = parse_state(snapshot(emulator.cloud)).accounts_of_workloads
    attached = [obj["spec"]["workload"]["name"] for obj in OURS if obj["kind"] == "IdentityAttachment"]

    assert set(attached) <= {name.rpartition("/")[2] for name in seeded}
    assert drift.MOVED_WORKLOAD in seeded


def test_subjects_of_the_drift_step_are_applied() -> None:
    applied = {Subject.of(obj) for obj in OURS}

    assert {drift.REMOVAL_SUBJECT, drift.MOVE_SUBJECT} <= applied


@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("ManagedProject", 1, "1 ManagedProject"),
        ("ManagedProject", 2, "2 ManagedProjects"),
        ("CloudRunIdentity", 2, "2 CloudRunIdentities"),
        ("IdentityKey", 2, "2 IdentityKeys"),
    ],
)
def test_numbers_of_objects_are_printed_in_words(kind: str, count: int, said: str) -> None:
    assert manifests.amount(kind, count) == said
