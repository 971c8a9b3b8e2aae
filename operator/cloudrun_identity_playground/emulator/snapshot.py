"""The whole state as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from .apis.accounts import Account
from .apis.service_accounts import message
from .cloud import Cloud
from .wire.methods import as_protobuf


def snapshot(cloud: Cloud) -> dict[str, Any]:
    """Everything that exists, by resource name; keys without their private halves, which nobody keeps.

    A binding of a policy says in `boundTo` which accounts its members mean, by unique id.
    """
    accounts = list(cloud.accounts)
    return {
        "projects": {
            project.id: {"projectNumber": project.number, "parent": project.parent}
            for project in cloud.registry
        },
        **{
            collection: {
                each.name: {"displayName": each.display_name, "parent": each.parent}
                for each in cloud.registry.containers
                if each.collection == collection
            }
            for collection in ("organizations", "folders")
        },
        "serviceAccounts": [_account(account) for account in accounts],
        "roles": _messages(cloud.role_table.custom.values()),
        **{
            collection: {each.name: json_format.MessageToDict(each) for each in workloads}
            for collection, workloads in cloud.workloads.items()
        },
        "revisions": _messages(cloud.revisions.all()),
        "executions": _messages(cloud.executions.all()),
        "secrets": list(cloud.secrets),
        "policies": {
            _readable(resource, accounts): _policy(policy, cloud.policies.bound_ids(resource))
            for resource, policy in cloud.policies.all()
        },
        "orgPolicies": _messages(cloud.org_policies.all()),
        "customConstraints": _messages(cloud.custom_constraints.all()),
    }


def _account(account: Account) -> dict[str, Any]:
    shown: dict[str, Any] = json_format.MessageToDict(as_protobuf(message(account)))
    shown["deleted"] = account.deleted_at is not None
    shown["keys"] = [
        {"name": key.name, "disabled": key.disabled, "keyType": key.key_type.name}
        for key in account.keys.values()
    ]
    return shown


def _policy(policy: Any, bound_ids: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    shown: dict[str, Any] = json_format.MessageToDict(policy)
    for binding, unique_ids in zip(shown.get("bindings", ()), bound_ids, strict=True):
        if unique_ids:
            binding["boundTo"] = unique_ids
    return shown


def _messages(messages: Iterable[Any]) -> dict[str, Any]:
    plain = (as_protobuf(each) for each in messages)
    return {each.name: json_format.MessageToDict(each) for each in plain}


def _readable(resource: str, accounts: Iterable[Account]) -> str:
    """The policy of a live account goes by its e-mail, that of a deleted one by its unique id."""
    parent, _, identifier = resource.rpartition("/")
    live = (each for each in accounts if each.deleted_at is None and each.unique_id == identifier)
    account = next(live, None)
    return f"{parent}/{account.email}" if account is not None else resource
