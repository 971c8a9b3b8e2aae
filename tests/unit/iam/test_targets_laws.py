"""Laws of targets of every kind, with any names that the schema accepts.

One policy has one full name, one ledger and one text, and each of them leads back to the target.
"""

from hypothesis import assume, given
from hypothesis import strategies as st

from cloudrun_identity.api import (
    TARGET_KINDS,
    IAMBinding,
    NamedBy,
    TargetKind,
    TargetKindDescriptor,
    kind_containing,
)
from cloudrun_identity.api.generic_target import MAX_RESOURCE_NAME
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.resource_names import Misnamed, generic_target, parse_target
from cloudrun_identity.ledger.model import Ledger
from cloudrun_identity.ledger.objects import from_object, object_name, to_object
from cloudrun_identity.reconcile.grants.targets import ResolvedTarget, resolve_target
from tests.target_resources import declared
from tests.unit.controllers.cluster_state import FakeClusterState
from tests.unit.iam.guardrail_requests import project

PROJECT = "payments-prod-1234"
segment = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~+@:-]{0,12}", fullmatch=True)
locations = st.sampled_from(["europe-west1", "us", "eur4", "global"])
apis = st.sampled_from(["cloudfunctions", "eventarc", "pubsub", "cloudkms", "aiplatform"])


def names(descriptor: TargetKindDescriptor) -> st.SearchStrategy[str]:
    """Return the names that the schema accepts for a kind."""
    match descriptor.named_by:
        case NamedBy.PROJECT:
            return st.just("")
        case NamedBy.IDENTITY:
            return st.from_regex(r"[a-z]{6,12}", fullmatch=True).map(
                lambda account: f"{account}@{PROJECT}.iam.gserviceaccount.com"
            )
        case NamedBy.NAME:
            assert descriptor.name_form
            longest = descriptor.name_form.max_length
            form = st.from_regex(descriptor.name_form.pattern, fullmatch=True)
            return form.filter(lambda name: len(name) <= longest)
        case NamedBy.RESOURCE:
            return st.lists(segment, min_size=1, max_size=6).map("/".join)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """Draw a target as a spec can name it."""
    descriptor = draw(st.sampled_from(list(TARGET_KINDS.values())))
    name = draw(names(descriptor))
    if descriptor.named_by is NamedBy.RESOURCE:
        found = generic_target(f"//{draw(apis)}.googleapis.com/projects/{PROJECT}/{name}", PROJECT)
        assume(isinstance(found, Target))
        assert isinstance(found, Target)
        assume(len(found.full_name) <= MAX_RESOURCE_NAME)
        return found
    parent = descriptor.parent
    return Target(
        descriptor.kind,
        PROJECT,
        draw(locations) if descriptor.has_location else "",
        name,
        draw(st.from_regex(parent.name_form.pattern, fullmatch=True))[:60].rstrip("-") if parent else "",
    )


def spec_of(target: Target) -> dict[str, object]:
    if target.is_project:
        return {"kind": "Project"}
    if target.is_service_account:
        return {"kind": "ServiceAccount", "email": target.name}
    return declared(target)


@given(targets(), targets())
def test_targets_share_a_ledger_only_if_they_are_equal(one: Target, other: Target) -> None:
    assert (one.full_name == other.full_name) == (one == other)
    assert (object_name(one) == object_name(other)) == (one == other)


@given(targets())
def test_ledger_object_has_the_target_that_was_written(target: Target) -> None:
    written = to_object(Ledger.of(target, {}), {"name": object_name(target), "namespace": "operator"})
    assert from_object(written).target == target


@given(targets())
def test_manifest_of_a_target_resolves_to_it(target: Target) -> None:
    managed = project()
    spec = {
        "projectRef": {"name": managed.metadata.name},
        "target": spec_of(target),
        "role": "roles/viewer",
        "members": [{"principal": "group:ops@example.com"}],
    }
    binding = IAMBinding.model_validate({"metadata": {"name": "one", "namespace": "flows"}, "spec": spec})
    found = resolve_target(binding.spec.target, managed, "flows", FakeClusterState(), "spec.target")
    assert found == ResolvedTarget(target)


@given(targets())
def test_resource_name_belongs_to_the_kind_of_the_target(target: Target) -> None:
    kind = kind_containing(target.host, target.resource)
    assert (kind.kind if kind else TargetKind.RESOURCE) is target.kind
    if kind and target.kind is not TargetKind.PROJECT:
        assert isinstance(generic_target(target.full_name, PROJECT), Misnamed)


@given(targets())
def test_short_text_of_a_target_is_parsed(target: Target) -> None:
    assume(target.descriptor.is_admitted_by_name_only)
    text = target.full_name if target.service else str(target).replace(" ", "/", 1)
    assert parse_target(text, PROJECT) == target
