"""Which objects a spec names, so that they wake the object that names them."""

from collections.abc import Iterable

from cloudrun_identity.api import Member
from cloudrun_identity.api import Target as TargetSpec
from cloudrun_identity.iam.principals import email, is_service_account

from .world import Key, account_key, identity_key, project_key


def member_keys(members: Iterable[Member], namespace: str) -> frozenset[Key]:
    """The identities and projects among members that an object of `namespace` names."""
    keys = set()
    for member in members:
        if member.identity_ref:
            keys.add(identity_key(member.identity_ref.namespace or namespace, member.identity_ref.name))
        if member.principal and is_service_account(member.principal):
            keys.add(account_key(email(member.principal)))
        if member.cloud_run_service_agent_of:
            keys.add(project_key(member.cloud_run_service_agent_of.project_ref.name))
    return frozenset(keys)


def target_key(target: TargetSpec, namespace: str) -> frozenset[Key]:
    """The identity whose account the target is, by name or by e-mail."""
    if target.identity_ref:
        return frozenset({identity_key(namespace, target.identity_ref.name)})
    return frozenset({account_key(target.email)} if target.email else ())
