"""A ledger as a PolicyLedger object and back, without I/O."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from pydantic import ValidationError

from cloudrun_identity.api.group import API_VERSION
from cloudrun_identity.api.policy_ledger import (
    MAX_UNIQUE_IDS,
    LedgerAccount,
    LedgerAttachment,
    LedgerBinding,
    LedgerKey,
    LedgerKeyAttempt,
    LedgerMember,
    LedgerRole,
    LedgerTarget,
    PolicyLedger,
    PolicyLedgerSpec,
)
from cloudrun_identity.api.references import BindingCondition
from cloudrun_identity.api.status import GrantCounts
from cloudrun_identity.api.validation import misfits
from cloudrun_identity.iam.grants import Grant, IAMCondition, Target
from cloudrun_identity.iam.key_records import KeyAttempt, KeyRecord, KeyRing
from cloudrun_identity.kube.resources import Object

from .model import AccountRecord, AttachmentRecord, Ledger, LedgerEntry, RoleRecord

_NAME_LENGTH = 40
_HASH_LENGTH = 10


class LedgerInvalid(Exception):  # noqa: N818 - it names what is the case
    """A stored PolicyLedger is not of the form that this operator writes; the message is one line."""


def object_name(target: Target) -> str:
    """Name the object that holds the ledger of `target`: KIND-NAME-HASH, unique by its hash."""
    name = re.sub(r"[^a-z0-9]+", "-", (target.name or target.project_id).lower())[:_NAME_LENGTH].strip("-")
    digest = hashlib.sha256(target.full_name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{target.kind.lower()}-{name}-{digest}"


def to_object(ledger: Ledger, metadata: Object) -> Object:
    """Write the ledger as a raw PolicyLedger with this metadata.

    Bindings, members and claimants are in the order of their names, so that equal ledgers are equal objects.
    """
    spec = PolicyLedgerSpec(
        target=_target_to_model(ledger.target),
        target_uid=ledger.target_uid or None,
        account=None if ledger.account is None else _account_to_model(ledger.account),
        keys=tuple(_key_to_model(ledger.keys.records[key_id]) for key_id in sorted(ledger.keys.records)),
        key_attempt=_attempt_to_model(ledger.keys.attempt) if ledger.keys.attempt else None,
        roles=tuple(_role_to_model(ledger.roles[role_id]) for role_id in sorted(ledger.roles)),
        attachment=_attachment_to_model(ledger.attachment) if ledger.attachment else None,
        bindings=tuple(_bindings_to_models(ledger)),
        grant_counts=GrantCounts.of(entry.state for entry in ledger.entries.values()),
        unmanaged_members=ledger.unmanaged_members,
        last_write_time=ledger.last_write_time,
    )
    kind = PolicyLedger.__name__
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec.to_dict()}


def from_object(raw: Object) -> Ledger:
    """Read a raw PolicyLedger; raises `LedgerInvalid`."""
    try:
        spec = PolicyLedgerSpec.model_validate(raw["spec"])
    except (ValidationError, KeyError) as error:
        metadata = raw["metadata"]
        raise LedgerInvalid(
            f"PolicyLedger {metadata['namespace']}/{metadata['name']} cannot be read "
            f"({_first_fault(error)}): repair it, for without it what it holds counts as somebody else's"
        ) from error
    target = _target_from_model(spec.target)
    return Ledger(
        target=target,
        target_uid=spec.target_uid or "",
        account=None if spec.account is None else _account_from_model(spec.account),
        keys=_keys_from_models(spec.keys, spec.key_attempt),
        roles={role.role_id: _role_from_model(role) for role in spec.roles},
        attachment=_attachment_from_model(spec.attachment) if spec.attachment else None,
        entries=dict(chain.from_iterable(_holdings(target, binding) for binding in spec.bindings)),
        unmanaged_members=spec.unmanaged_members,
        last_write_time=spec.last_write_time,
    )


def _target_to_model(target: Target) -> LedgerTarget:
    return LedgerTarget(
        kind=target.kind,
        project_id=target.project_id,
        location=target.location or None,
        name=target.name or None,
        full_name=target.full_name,
        text=str(target),
    )


def _target_from_model(target: LedgerTarget) -> Target:
    return Target(target.kind, target.project_id, target.location or "", target.name or "")


def _account_to_model(account: AccountRecord) -> LedgerAccount:
    return LedgerAccount(
        email=account.email or None,
        unique_id=account.unique_id or None,
        origin=account.origin,
        owner=account.owner or None,
        owner_uid=account.owner_uid or None,
        intent=account.intent,
        unique_ids=account.unique_ids[-MAX_UNIQUE_IDS:],
        lost=account.lost,
        disabled=account.disabled,
        sent=account.sent,
        appeared_time=account.appeared,
        disabled_time=account.disabled_at,
        abandoned=account.abandoned,
    )


def _account_from_model(account: LedgerAccount) -> AccountRecord:
    return AccountRecord(
        email=account.email or "",
        owner=account.owner or "",
        owner_uid=account.owner_uid or "",
        intent=account.intent,
        origin=account.origin,
        unique_id=account.unique_id or "",
        unique_ids=account.unique_ids,
        lost=account.lost,
        disabled=account.disabled,
        sent=account.sent,
        appeared=account.appeared_time,
        disabled_at=account.disabled_time,
        abandoned=account.abandoned,
    )


def _role_to_model(role: RoleRecord) -> LedgerRole:
    return LedgerRole(
        role_id=role.role_id,
        owner=role.owner,
        owner_uid=role.owner_uid,
        origin=role.origin,
        state=role.state,
        deleted_time=role.deleted_time,
    )


def _role_from_model(role: LedgerRole) -> RoleRecord:
    return RoleRecord(
        role_id=role.role_id,
        owner=role.owner,
        owner_uid=role.owner_uid,
        origin=role.origin,
        state=role.state,
        deleted_time=role.deleted_time,
    )


def _key_to_model(key: KeyRecord) -> LedgerKey:
    return LedgerKey(
        id=key.key_id,
        owner=key.owner,
        state=key.state,
        created_time=key.created,
        digest=key.digest or None,
        generation=key.generation,
        expiry_time=key.expires,
        superseded_time=key.superseded,
        disabled_time=key.disabled,
    )


def _key_from_model(key: LedgerKey) -> KeyRecord:
    return KeyRecord(
        key_id=key.id,
        owner=key.owner,
        state=key.state,
        created=key.created_time,
        digest=key.digest or "",
        generation=key.generation,
        expires=key.expiry_time,
        superseded=key.superseded_time,
        disabled=key.disabled_time,
    )


def _attempt_to_model(attempt: KeyAttempt) -> LedgerKeyAttempt:
    return LedgerKeyAttempt(owner=attempt.owner, time=attempt.time, known=tuple(sorted(attempt.known)))


def _keys_from_models(keys: Iterable[LedgerKey], attempt: LedgerKeyAttempt | None) -> KeyRing:
    return KeyRing(
        {key.id: _key_from_model(key) for key in keys},
        KeyAttempt(attempt.owner, attempt.time, frozenset(attempt.known)) if attempt else None,
    )


def _attachment_to_model(attachment: AttachmentRecord) -> LedgerAttachment:
    return LedgerAttachment(
        owner=attachment.owner,
        owner_uid=attachment.owner_uid,
        workload_uid=attachment.workload_uid,
        previous_service_account=attachment.before,
        service_account=attachment.account,
    )


def _attachment_from_model(attachment: LedgerAttachment) -> AttachmentRecord:
    return AttachmentRecord(
        attachment.owner,
        attachment.owner_uid,
        attachment.workload_uid,
        attachment.previous_service_account,
        attachment.service_account,
    )


def _bindings_to_models(ledger: Ledger) -> Iterator[LedgerBinding]:
    members: defaultdict[tuple[str, IAMCondition | None], list[LedgerMember]] = defaultdict(list)
    for grant, entry in sorted(ledger.entries.items(), key=lambda item: _order(item[0])):
        members[grant.role, grant.condition].append(_member_to_model(grant, entry))
    for (role, condition), its_members in members.items():
        yield LedgerBinding(role=role, condition=_condition_to_model(condition), members=tuple(its_members))


def _member_to_model(grant: Grant, entry: LedgerEntry) -> LedgerMember:
    return LedgerMember(
        member=grant.member,
        unique_id=entry.unique_id or None,
        former_unique_ids=entry.former_ids,
        owners=tuple(sorted(entry.owners)),
        state=entry.state,
        present_before=entry.present_before,
    )


def _holdings(target: Target, binding: LedgerBinding) -> Iterable[tuple[Grant, LedgerEntry]]:
    condition = _condition_from_model(binding.condition)
    for item in binding.members:
        yield (
            Grant(target, binding.role, item.member, condition),
            LedgerEntry(
                owners=frozenset(item.owners),
                state=item.state,
                present_before=item.present_before,
                unique_id=item.unique_id or "",
                former_ids=item.former_unique_ids,
            ),
        )


def _condition_to_model(condition: IAMCondition | None) -> BindingCondition | None:
    if condition is None:
        return None
    return BindingCondition(
        title=condition.title, description=condition.description or None, expression=condition.expression
    )


def _condition_from_model(condition: BindingCondition | None) -> IAMCondition | None:
    if condition is None:
        return None
    return IAMCondition(condition.title, condition.description or "", condition.expression)


def _order(grant: Grant) -> tuple[str, bool, IAMCondition, str]:
    return grant.role, grant.condition is not None, grant.condition or IAMCondition(""), grant.member


def _first_fault(error: ValidationError | KeyError) -> str:
    if isinstance(error, KeyError):
        return "it has no spec"
    return f"spec.{misfits(error)[0]}"
