"""Pure functions of a policy sync, compared with the unavoidable cost of parsing the same data once.

They block the operator's only event loop, so their duration delays all other work.
"""

import itertools
import json
import timeit
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from google.iam.v1.policy_pb2 import Policy

from cloudrun_identity.api import GrantState, ManagedProject, TargetKind
from cloudrun_identity.iam.admission import DeclaredIdentity, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.principals import normalise
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import from_object, object_name, to_object
from cloudrun_identity.ledger.owners import Owner
from cloudrun_identity.policy.desired_grants import DesiredGrant, DesiredGrants
from cloudrun_identity.policy.merge import grants_in, merge
from cloudrun_identity.policy.planning import plan_policy
from cloudrun_identity.policy.review import SyncFacts

from .figures import Benchmark, Figure
from .fleet import NAMESPACE, PROJECT_ID, ROLES, Fleet

MEMBERS = 1_500  # the limit of a policy
PERMISSIONS = 300  # of a large predefined role

_REPEATS = 5
_SECONDS = 0.05  # duration of each repeat, for the resolution of the clock
_TARGET = Target(TargetKind.PROJECT, PROJECT_ID)
_MICRO = 1e6


def measure() -> list[Benchmark]:
    """Measure the functions on a full policy."""
    fleet = Fleet(MEMBERS // len(ROLES))
    return [_policy(fleet), _ledger(fleet), _guardrail(fleet)]


def _policy(fleet: Fleet) -> Benchmark:
    desired_grants = [DesiredGrant(grant) for grant in _grants(fleet)]
    empty = Policy(etag=b"etag")
    full = merge(empty, desired_grants).policy
    half = merge(empty, desired_grants[::2]).policy
    wire = full.SerializeToString()
    all_desired, ledger, present = _registrations(fleet), _ledger_of(fleet), frozenset(_grants(fleet))
    # Protobuf decodes the members only when they are read.
    parsing = _micros(lambda: [list(binding.members) for binding in Policy.FromString(wire).bindings])
    return Benchmark(
        "policy",
        f"policy of {len(desired_grants):,} members",
        (
            _figure("present", "list the grants", lambda: grants_in(full, _TARGET), parsing),
            _figure(
                "plan",
                f"plan for {fleet.size:,} objects, nothing to do",
                lambda: plan_policy(ledger, all_desired, present, SyncFacts(may_release=True)),
                parsing,
            ),
            _figure("merge_all", "merge, all of them new", lambda: merge(empty, desired_grants), parsing),
            _figure("merge_unchanged", "merge, nothing to do", lambda: merge(full, desired_grants), parsing),
            _figure("merge_half", "merge, half of them new", lambda: merge(half, desired_grants), parsing),
            # The normalized form of a member is cached forever: the first time it is computed.
            _figure(
                "merge_unseen",
                "merge, half of them new, the first time",
                lambda: (normalise.cache_clear(), merge(half, desired_grants)),
                parsing,
            ),
        ),
    )


def _ledger(fleet: Fleet) -> Benchmark:
    ledger = _ledger_of(fleet)
    metadata = {"name": object_name(_TARGET), "namespace": "cloudrun-identity"}
    raw = to_object(ledger, metadata)
    text = json.dumps(raw)
    parsing = _micros(lambda: json.loads(text))
    return Benchmark(
        "ledger",
        f"ledger of {len(ledger.entries):,} grants",
        (
            _figure("to_object", "to the Kubernetes object", lambda: to_object(ledger, metadata), parsing),
            _figure("from_object", "from the Kubernetes object", lambda: from_object(raw), parsing),
        ),
    )


def _guardrail(fleet: Fleet) -> Benchmark:
    manifest = fleet.project("5m")
    text = json.dumps(manifest)
    project = ManagedProject.model_validate(manifest)
    guardrail_facts = GuardrailFacts(namespaces=frozenset({NAMESPACE}))
    permissions = frozenset(f"service.resources.verb{number}" for number in range(PERMISSIONS))
    request = GrantRequest(
        namespace=NAMESPACE,
        target=_TARGET,
        role=ROLES[0],
        member=DeclaredIdentity(NAMESPACE, "runner"),
        permissions=permissions,
    )
    unseen = (permissions | {f"service.others.verb{number}"} for number in itertools.count())
    parsing = _micros(lambda: ManagedProject.model_validate(json.loads(text)))
    return Benchmark(
        "guardrail",
        f"guardrail, role of {PERMISSIONS:,} permissions",
        (
            _figure(
                "decide_first",
                "decide, a role not seen before",
                lambda: decide(replace(request, permissions=next(unseen)), project, guardrail_facts),
                parsing,
            ),
            _figure(
                "decide_again", "decide again", lambda: decide(request, project, guardrail_facts), parsing
            ),
        ),
    )


def _grants(fleet: Fleet) -> list[Grant]:
    return [Grant(_TARGET, role, member) for member in fleet.members for role in ROLES]


def _registrations(fleet: Fleet) -> list[DesiredGrants]:
    return [
        DesiredGrants(_owner(number), frozenset(DesiredGrant(Grant(_TARGET, role, member)) for role in ROLES))
        for number, member in enumerate(fleet.members)
    ]


def _ledger_of(fleet: Fleet) -> Ledger:
    entries = {
        Grant(_TARGET, role, member): entry_of(
            Grant(_TARGET, role, member),
            [str(_owner(number))],
            GrantState.GRANTED,
            unique_id=f"{number:021}",
        )
        for number, member in enumerate(fleet.members)
        for role in ROLES
    }
    return Ledger.of(_TARGET, entries).with_sync(unmanaged_members=0, written_at=datetime.now(UTC))


def _owner(number: int) -> Owner:
    return Owner("CloudRunIdentity", NAMESPACE, f"runner-{number:04}", str(uuid.UUID(int=number)))


def _figure(name: str, label: str, work: Callable[[], object], parsing: float) -> Figure:
    return Figure(f"{name}_us", label, _micros(work), baseline=parsing, decimals=1)


def _micros(work: Callable[[], object]) -> float:
    """Return the microseconds of one call: the minimum of several repeats, which other load affects least."""
    timer = timeit.Timer(work)
    number = max(1, round(_SECONDS / timer.timeit(1)))
    return min(timer.repeat(_REPEATS, number)) / number * _MICRO
