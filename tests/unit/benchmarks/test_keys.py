from collections import Counter
from pathlib import Path

import pytest

from benchmarks.key_fleet import KEYLESS, KeyFleet
from benchmarks.keys import Course, seconds_by_limit
from cloudrun_identity.api import CloudRunIdentity, IdentityKey, ManagedProject, UnmanagedKeys
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity_playground.emulator.seed_file import load_seed


def test_no_account_ever_has_more_keys_than_it_can() -> None:
    keys = [IdentityKey.model_validate(each) for each in KeyFleet(10).objects()]
    assert max(Counter(each.spec.identity_ref.name for each in keys).values()) * 2 <= MAX_KEYS
    assert len({each.spec.secret_name for each in keys}) == 10


def test_every_key_has_its_identity_and_some_identities_have_none() -> None:
    fleet = KeyFleet(10)
    identities = {
        each.metadata.name: each for each in map(CloudRunIdentity.model_validate, fleet.identities())
    }
    used = {IdentityKey.model_validate(each).spec.identity_ref.name for each in fleet.objects()}
    assert len(used) == fleet.with_keys
    assert used < identities.keys()
    unused = [identities[name] for name in identities.keys() - used]
    assert [each.spec.unmanaged_keys for each in unused] == [UnmanagedKeys.IGNORE] * KEYLESS


def test_the_project_admits_keys_and_has_room_for_the_accounts(tmp_path: Path) -> None:
    fleet = KeyFleet(500)
    project = ManagedProject.model_validate(fleet.project("1h"))
    assert project.spec.guardrails.keys == "Allowed"
    fleet.write_seed(tmp_path / "seed.yaml")
    (seeded,) = load_seed(tmp_path / "seed.yaml").projects
    assert seeded.quotas.service_accounts == len(fleet.identities())


def test_to_ask_again_changes_nothing_but_the_annotation() -> None:
    (plain,), (asked,) = KeyFleet(1).objects(), KeyFleet(1).objects(asked="now")
    assert list(asked["metadata"].pop("annotations").values()) == ["now"]
    assert asked == plain


def test_the_busiest_minute_is_any_minute() -> None:
    course = Course()
    for seconds, writes in ((0, 0), (30, 100), (59, 400), (90, 650), (200, 700)):
        course.note(seconds, writes)
    assert course.busiest_minute == 550
    assert Course().busiest_minute == 0


@pytest.mark.parametrize(("writes", "seconds"), [(0, 0.0), (100, 0.0), (500, 60.0)])
def test_the_operators_own_limit_begins_with_a_full_bucket(writes: int, seconds: float) -> None:
    assert seconds_by_limit(writes) == seconds
