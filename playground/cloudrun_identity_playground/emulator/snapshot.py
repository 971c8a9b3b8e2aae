"""The whole state as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf import json_format

from .apis.accounts import Account
from .apis.service_accounts import message, policy_name
from .cloud import Cloud
from .wire.methods import as_protobuf


def snapshot(cloud: Cloud, under: str = "") -> dict[str, Any]:
    """Return everything that exists, by resource name; keys have no private half.

    With `under`, such as `projects/shop`, return that resource and everything below it. In a binding,
    `boundTo` has the unique ids of the accounts behind its members.
    """

    def asked(name: str) -> bool:
        return not under or name == under or name.startswith(f"{under}/")

    def messages(found: Iterable[Any]) -> dict[str, Any]:
        plain = (as_protobuf(each) for each in found)
        return {each.name: json_format.MessageToDict(each) for each in plain if asked(each.name)}

    return {
        "projects": {
            project.id: {"projectNumber": project.number, "parent": project.parent}
            for project in cloud.registry
            if asked(f"projects/{project.id}")
        },
        **{
            collection: {
                each.name: {"displayName": each.display_name, "parent": each.parent}
                for each in cloud.registry.containers
                if each.collection == collection and asked(each.name)
            }
            for collection in ("organizations", "folders")
        },
        "serviceAccounts": [_account(account) for account in cloud.accounts if asked(account.name)],
        "roles": messages(cloud.role_table.custom.values()),
        **{collection: messages(workloads) for collection, workloads in cloud.workloads.items()},
        "revisions": messages(cloud.revisions.all()),
        "executions": messages(cloud.executions.all()),
        "resources": [name for name in cloud.resources if asked(name)],
        "policies": {
            name: _policy(cloud.policies.shown(resource), cloud.policies.bound_ids(resource))
            for name, resource in _policy_names(cloud)
            if asked(name)
        },
        "orgPolicies": messages(cloud.org_policies.all()),
        "customConstraints": messages(cloud.custom_constraints.all()),
        "recommendations": messages(cloud.recommender.recommendations()),
        "insights": messages(cloud.recommender.insights()),
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


def _policy_names(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """Yield the shown and the stored name of each policy: accounts are shown by e-mail and stored by id."""
    live = {policy_name(account): account.name for account in cloud.accounts if account.deleted_at is None}
    for resource in cloud.policies:
        yield live.get(resource, resource), resource
