from collections import Counter
from pathlib import Path

import pytest

from benchmarks.key_objects import KEYLESS, KeyObjects
from benchmarks.key_rotation import WriteHistory, seconds_by_limit
from cloudrun_identity.api import CloudRunIdentity, IdentityKey, ManagedProject, UnmanagedKeys
from cloudrun_identity.iam.listed_keys import MAX_KEYS
from cloudrun_identity_playground.emulator.seed_file import load_seed


def test_rotation_stays_within_the_key_limit_of_an_account() -> None:
    keys = [IdentityKey.model_validate(each) for each in KeyObjects(10).objects()]
    assert max(Counter(each.spec.identity_ref.name for each in keys).values()) * 2 <= MAX_KEYS
    assert len({each.spec.secret_name for each in keys}) == 10


def test_every_key_has_an_identity_and_some_identities_have_none() -> None:
    fleet = KeyObjects(10)
    identities = {
        each.metadata.name: each for each in map(CloudRunIdentity.model_validate, fleet.identities())
    }
    used = {IdentityKey.model_validate(each).spec.identity_ref.name for each in fleet.objects()}
    assert len(used) == fleet.with_keys
    assert used < identities.keys()
    unused = [identities[name] for name in identities.keys() - used]
    assert [each.spec.unmanaged_keys for each in unused] == [UnmanagedKeys.IGNORE] * KEYLESS


def test_project_admits_keys_and_has_a_quota_for_the_accounts(tmp_path: Path) -> None:
    fleet = KeyObjects(500)
    project = ManagedProject.model_validate(fleet.project("1h"))
    assert project.spec.guardrails.keys == "Allowed"
    fleet.write_seed(tmp_path / "seed.yaml")
    (seeded,) = load_seed(tmp_path / "seed.yaml").projects
    assert seeded.quotas.service_accounts == len(fleet.identities())


def test_requested_reconcile_changes_the_annotation_only() -> None:
    (plain,), (asked,) = KeyObjects(1).objects(), KeyObjects(1).objects(requested_at="now")
    assert list(asked["metadata"].pop("annotations").values()) == ["now"]
    assert asked == plain


def test_busiest_minute_is_found_anywhere() -> None:
    history = WriteHistory()
    for seconds, writes in ((0, 0), (30, 100), (59, 400), (90, 650), (200, 700)):
        history.add(seconds, writes)
    assert history.busiest_minute == 550
    assert WriteHistory().busiest_minute == 0


@pytest.mark.parametrize(("writes", "seconds"), [(0, 0.0), (100, 0.0), (500, 60.0)])
def test_rate_limit_starts_with_a_full_bucket(writes: int, seconds: float) -> None:
    assert seconds_by_limit(writes) == seconds
