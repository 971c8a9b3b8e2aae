from pathlib import Path

from benchmarks.fleet import ROLES, Fleet
from cloudrun_identity.api import CloudRunIdentity, ManagedProject
from cloudrun_identity.gcp.service_accounts import expected_email
from cloudrun_identity_playground.emulator.seed_file import load_seed


def test_members_are_the_accounts_of_the_identities() -> None:
    fleet = Fleet(3)
    project = ManagedProject.model_validate(fleet.project("1h"))
    identities = [CloudRunIdentity.model_validate(each) for each in fleet.identities()]
    emails = [expected_email(project.project_id, identity.account_id) for identity in identities]
    assert fleet.members == tuple(f"serviceAccount:{email}" for email in emails)


def test_project_admits_every_declared_role() -> None:
    fleet = Fleet(1)
    project = ManagedProject.model_validate(fleet.project("1h"))
    (identity,) = (CloudRunIdentity.model_validate(each) for each in fleet.identities())
    assert [grant.role for grant in identity.spec.roles] == list(project.spec.guardrails.grants[0].roles)
    assert fleet.grants == len(ROLES)


def test_seed_has_a_quota_for_all_accounts(tmp_path: Path) -> None:
    Fleet(150).write_seed(tmp_path / "seed.yaml")
    (project,) = load_seed(tmp_path / "seed.yaml").projects
    assert project.quotas.service_accounts == 150
    assert project.policy
