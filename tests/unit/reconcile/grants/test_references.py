from cloudrun_identity.api import Member, TargetRef
from cloudrun_identity.reconcile.cluster_state import identity_key, project_key
from cloudrun_identity.reconcile.grants.members import member_keys
from cloudrun_identity.reconcile.grants.targets import target_key


def test_member_keys_are_the_named_identities_and_projects() -> None:
    members = [
        Member.model_validate(each)
        for each in (
            {"principal": "group:ops@example.com"},
            {"identityRef": {"name": "checkout"}},
            {"identityRef": {"name": "pricing", "namespace": "shop"}},
            {"cloudRunServiceAgentOf": {"projectRef": {"name": "run-prod"}}},
        )
    ]
    assert member_keys(members, "payments") == {
        identity_key("payments", "checkout"),
        identity_key("shop", "pricing"),
        project_key("run-prod"),
    }


def test_target_key_is_an_identity_of_the_same_namespace() -> None:
    account = TargetRef.model_validate({"kind": "ServiceAccount", "identityRef": {"name": "checkout"}})
    assert target_key(account, "payments") == {identity_key("payments", "checkout")}
    assert target_key(TargetRef.model_validate({"kind": "Project"}), "payments") == frozenset()
