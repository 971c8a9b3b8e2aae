"""Test laws of guardrails on generated requests and projects."""

from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import GrantAdmission, ManagedProject, TargetKind
from cloudrun_identity.iam.admission import Admitted, Denied, GuardrailFacts
from cloudrun_identity.iam.grant_matching import GrantRequest
from cloudrun_identity.iam.grants import IAMCondition
from cloudrun_identity.iam.guardrails import decide
from cloudrun_identity.iam.proposals import patch_command
from tests.target_resources import SERVICE as SERVICE_API
from tests.target_resources import target_of_each_kind
from tests.unit.iam.guardrail_requests import (
    IDENTITIES,
    LEGACY_ACCOUNT,
    OF_POOLS,
    OTHER,
    OTHER_ACCOUNT,
    OWN_ACCOUNT,
    POOL,
    PROJECT,
    PUBLIC,
    ROLES,
    RUNNER,
    SECRET,
    SERVICE,
    TYPEWIDE,
    decided,
    is_admitted,
    project,
)
from tests.unit.iam.patches import patched

OF_EACH_KIND = target_of_each_kind(PROJECT.project_id).values()
HOURS = IAMCondition("office hours", "", "request.time.getHours() < 18")
member_patterns = st.sampled_from(
    [
        "*",
        "identities",
        "identity:flows/*",
        "group:*@example.com",
        "allUsers",
        f"{POOL}/*",
        "domain:example.com",
    ]
)
entries = st.fixed_dictionaries(
    {
        "roles": st.lists(st.sampled_from(["*", "roles/run.*", *ROLES]), min_size=1, max_size=3),
        "targetKinds": st.lists(st.sampled_from(list(TargetKind)), min_size=1, max_size=4),
        "members": st.lists(member_patterns, min_size=1, max_size=3),
        "allowEscalation": st.booleans(),
        "exclusive": st.booleans(),
        "claim": st.booleans(),
    },
    optional={
        "names": st.lists(
            st.sampled_from(["*", "check*", "payments-*", "*/functions/*", "shop-parent/*", "42"]),
            min_size=1,
        ),
        "services": st.sampled_from([[SERVICE_API], ["eventarc.googleapis.com"]]),
        "locations": st.sampled_from([["europe-*"], ["us"]]),
        "namespaces": st.lists(st.sampled_from(["flows", "shop", "*"]), min_size=1, max_size=2),
        "conditions": st.just([HOURS.expression]),
    },
)
guardrails = st.builds(
    lambda grants, default, accounts, names: project(
        *grants, names=names, defaultGrants=default, accounts=accounts
    ),
    st.lists(entries, max_size=4),
    st.booleans(),
    st.sampled_from([[], [{"email": "legacy@*", "namespaces": ["flows"]}]]),
    st.sampled_from([("flows",), ("flows", "shop")]),
)
targets = st.sampled_from(
    [
        PROJECT,
        SERVICE,
        SECRET,
        OWN_ACCOUNT,
        OTHER_ACCOUNT,
        LEGACY_ACCOUNT,
        *OF_EACH_KIND,
    ]
)
requests = st.builds(
    lambda role, target, member, namespace, expanded, condition, exclusive, claim: GrantRequest(
        namespace,
        target,
        role,
        member,
        ROLES[role] if expanded else None,
        condition=condition,
        exclusive=exclusive,
        claim=claim,
    ),
    st.sampled_from(sorted(ROLES)),
    targets,
    st.sampled_from([RUNNER, OTHER, "group:ops@example.com", *PUBLIC, *TYPEWIDE, *OF_POOLS]),
    st.sampled_from(["flows", "shop"]),
    st.booleans(),
    st.sampled_from([None, HOURS]),
    st.booleans(),
    st.booleans(),
)


def with_grants(managed_project: ManagedProject, grants: list[GrantAdmission]) -> ManagedProject:
    rails = managed_project.spec.guardrails.model_copy(update={"grants": tuple(grants)})
    return managed_project.model_copy(
        update={"spec": managed_project.spec.model_copy(update={"guardrails": rails})}
    )


@given(requests, guardrails, st.randoms())
def test_order_of_entries_does_not_matter(
    requested: GrantRequest, managed_project: ManagedProject, randomness: Any
) -> None:
    grants = list(managed_project.spec.guardrails.grants)
    randomness.shuffle(grants)
    shuffled = with_grants(managed_project, grants)
    assert is_admitted(requested, shuffled) == is_admitted(requested, managed_project)


@given(requests, guardrails, st.data())
def test_narrower_entry_never_admits_more(
    requested: GrantRequest, managed_project: ManagedProject, data: st.DataObject
) -> None:
    grants = list(managed_project.spec.guardrails.grants)
    assume(grants)
    narrowings: list[dict[str, Any]] = [
        {"roles": grants[0].roles[1:]},
        {"target_kinds": (grants[0].target_kinds or ())[1:]},
        {"members": grants[0].members[1:]},
        {"names": (grants[0].names or ("checkout",))[:1]},
        {"namespaces": (grants[0].namespaces or ("flows",))[:1]},
        {"allow_escalation": False},
        {"exclusive": False},
        {"claim": False},
        {"locations": ("us-*",)},
        {"services": ()},
        {"conditions": (HOURS.expression,)},
    ]
    narrowed = grants[0].model_copy(update=data.draw(st.sampled_from(narrowings)))
    if is_admitted(requested, with_grants(managed_project, [narrowed, *grants[1:]])):
        assert is_admitted(requested, managed_project)


@given(requests, guardrails, entries)
def test_additional_entry_never_admits_less(
    requested: GrantRequest, managed_project: ManagedProject, added: dict[str, Any]
) -> None:
    more = with_grants(
        managed_project, [*managed_project.spec.guardrails.grants, GrantAdmission.model_validate(added)]
    )
    if is_admitted(requested, managed_project):
        assert is_admitted(requested, more)


@given(requests, guardrails)
def test_proposed_patch_admits_the_grant(requested: GrantRequest, managed_project: ManagedProject) -> None:
    denied = decided(requested, managed_project)
    assume(isinstance(denied, Denied) and denied.proposals)
    assert isinstance(denied, Denied)
    assert "\n" not in patch_command(denied.proposals)
    after = patched(managed_project, denied)
    admitted = GuardrailFacts(frozenset(after.spec.namespaces.names), IDENTITIES)
    decision = decide(requested, after, admitted)
    # A namespace that was not admitted learns what else is lacking once it is.
    if requested.namespace in managed_project.spec.namespaces.names:
        assert decision == Admitted()
    else:
        assert not isinstance(decision, Denied) or not decision.invalid_entry


@given(requests, guardrails)
def test_denial_without_proposal_is_final_or_invalid(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    denied = decided(requested, managed_project)
    if not isinstance(denied, Denied) or denied.proposals or denied.invalid_entry:
        return
    everything = GrantAdmission(
        roles=(requested.role,),
        target_kinds=tuple(TargetKind),
        names=(requested.target.short_name, "*"),
        services=(requested.target.service,) if requested.target.service else None,
        members=(str(requested.member), "*"),
        namespaces=("*", requested.namespace),
        allow_escalation=True,
        exclusive=True,
        claim=True,
    )
    assert not is_admitted(requested, with_grants(managed_project, [everything]))


@given(requests, guardrails)
def test_service_account_never_gets_public_or_typewide_members(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    for target in (OWN_ACCOUNT, OTHER_ACCOUNT, LEGACY_ACCOUNT):
        for member in PUBLIC + TYPEWIDE:
            assert not is_admitted(replace(requested, target=target, member=member), managed_project)


@given(requests, guardrails)
def test_fewer_permissions_are_never_admitted_less(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    if is_admitted(requested, managed_project):
        assert is_admitted(replace(requested, permissions=frozenset()), managed_project)


@given(requests, guardrails)
def test_no_resource_is_admitted_without_its_api_its_kind_and_a_name(
    requested: GrantRequest, managed_project: ManagedProject
) -> None:
    target = requested.target
    if target.descriptor.is_admitted_by_name_only and is_admitted(requested, managed_project):
        assert any(
            target.kind in (each.target_kinds or ())
            and each.names
            and (not target.service or target.service in (each.services or ()))
            for each in managed_project.spec.guardrails.grants
        )
