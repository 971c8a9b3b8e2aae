"""Resources of the target kinds in recordings: their policies are compared, and their contents are not.

The emulator keeps no contents of a bucket or a topic, so the calls that create one are not replayed. The
resource is planted before the first policy that Google returned for it, with the accounts in the policy.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from cloudrun_identity_playground.emulator import Emulator
from cloudrun_identity_playground.emulator.apis.target_messages import SERVED
from cloudrun_identity_playground.emulator.apis.target_names import TargetName, target_name

from .recordings import PROJECT, Exchange

_POLICY_METHOD = re.compile(r"/v\d\w*/([^:?]+):(?:[gs]etIamPolicy|testIamPermissions)")
_BUCKET_POLICY_METHOD = re.compile(r"(?:/storage/v1)?/b/([^/]+)/iam(?:/testPermissions)?")
_ACCOUNT = re.compile(r"serviceAccount:([^@\s']+)@([^.\s']+)\.iam\.gserviceaccount\.com")


def is_policy_method(exchange: Exchange) -> bool:
    """Return whether an exchange reads, writes or tests the policy of a resource of a target kind."""
    return _target(exchange) is not None


def plant(emulator: Emulator, exchange: Exchange) -> None:
    """Create the resource and the accounts of a policy that Google returned, if they do not exist."""
    found = _target(exchange)
    if found is None or exchange.status != HTTPStatus.OK:
        return
    cloud = emulator.cloud
    with cloud.registry.auto_creating():
        project = cloud.registry.resolve(found.project_id or PROJECT)
        for account_id, project_id in _ACCOUNT.findall(str(exchange.answer)):
            if not project_id.startswith("gcp-sa-") and not cloud.accounts.is_taken(
                f"{account_id}@{project_id}.iam.gserviceaccount.com"
            ):
                cloud.accounts.create(cloud.registry.add(cloud.registry.resolve(project_id)), account_id)
        if not cloud.resources.has(found):
            cloud.resources.add(project, found.descriptor, found.name, found.location, found.parent)


def _target(exchange: Exchange) -> TargetName | None:
    hosts = {descriptor.host for descriptor in SERVED.values()}
    if bucket := _BUCKET_POLICY_METHOD.fullmatch(exchange.path):
        return target_name(f"projects/_/buckets/{bucket[1]}", host=exchange.host)
    method = _POLICY_METHOD.fullmatch(exchange.path)
    return target_name(method[1], host=exchange.host) if method and exchange.host in hosts else None
