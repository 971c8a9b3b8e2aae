"""Full resource names as targets: one name per policy, and only in the project of the object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind
from cloudrun_identity.api.generic_target import ResourceName
from cloudrun_identity.iam.grants import Target
from cloudrun_identity.iam.resource_names import Misnamed, generic_target
from tests.target_resources import DATA_KINDS, resource_of

FUNCTION = "//cloudfunctions.googleapis.com/projects/shop/locations/europe-west1/functions/resize"
NAMED = [
    *(resource_of(kind) for kind in DATA_KINDS if TARGET_KINDS[kind].is_named_in_project),
    Target(TargetKind.SERVICE, "shop", "europe-west1", "web"),
    Target(TargetKind.JOB, "shop", "europe-west1", "nightly"),
    Target.service_account("shop", "web@shop.iam.gserviceaccount.com"),
]


def problem(resource: str) -> str:
    found = generic_target(resource, "shop")
    assert isinstance(found, Misnamed)
    return found.problem


def test_resource_is_a_target_of_its_api_project_and_location() -> None:
    target = generic_target(FUNCTION, "shop")

    assert isinstance(target, Target)
    assert (target.full_name, str(target)) == (FUNCTION, f"Resource {FUNCTION}")
    assert (target.location, target.region) == ("europe-west1", "")
    assert target.short_name == "locations/europe-west1/functions/resize"


@pytest.mark.parametrize(
    ("resource", "region"),
    [
        ("//aiplatform.googleapis.com/projects/shop/locations/us-central1/models/1", "us-central1"),
        ("//dataproc.googleapis.com/projects/shop/regions/us-east1/clusters/etl", "us-east1"),
        ("//dataproc.googleapis.com/projects/shop/regions/global/clusters/etl", ""),
        ("//binaryauthorization.googleapis.com/projects/shop/attestors/qa", ""),
        ("//binaryauthorization.googleapis.com/projects/shop/policy", ""),
    ],
)
def test_regional_host_serves_resources_of_apis_that_have_one(resource: str, region: str) -> None:
    target = generic_target(resource, "shop")
    assert isinstance(target, Target)
    assert target.region == region


@pytest.mark.parametrize("target", [each for each in NAMED if not each.service], ids=str)
def test_resource_with_a_kind_is_refused_with_that_kind(target: Target) -> None:
    found = problem(target.full_name)

    assert target.descriptor.display_name in found
    assert f"kind: {target.kind}" in found
    assert target.name in found


def test_remedy_is_the_target_of_the_kind() -> None:
    assert problem(resource_of(TargetKind.KMS_CRYPTO_KEY).full_name) == (
        "is a crypto key; use {kind: KMSCryptoKey, location: europe-west1, keyRing: shop-parent, name: "
        "shop-kmscryptokey} instead of resource"
    )


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (
            FUNCTION.replace("/shop/", "/vault/"),
            "is not in project shop; set projectRef to",
        ),
        (FUNCTION.replace("/shop/", "/42/"), "names its project by number; write projects/shop"),
        (FUNCTION.replace("/shop/", "/-/"), "must be //SERVICE"),
        (FUNCTION.replace("/shop/", "/_/"), "must be //SERVICE"),
        (FUNCTION.replace("resize", "../../../../vault/functions/x"), "must be //SERVICE"),
        (FUNCTION.replace("europe-west1", "-"), "must be //SERVICE"),
        (FUNCTION + "/", "must be //SERVICE"),
        (FUNCTION.replace("/functions", "//functions"), "must be //SERVICE"),
        (FUNCTION.replace("resize", "res%69ze"), "must be //SERVICE"),
        (FUNCTION + "\n", "must be //SERVICE"),
        (FUNCTION.removeprefix("//"), "must be //SERVICE"),
        (FUNCTION.replace("cloudfunctions.googleapis.com", "evil.example.com"), "must be //SERVICE"),
        (FUNCTION.replace("//cloudfunctions", "//europe-west1-cloudfunctions"), "must be //SERVICE"),
        (FUNCTION.replace("//cloudfunctions", "//cloudfunctions.mtls"), "must be //SERVICE"),
        (FUNCTION.replace("//cloudfunctions", "//x@cloudfunctions"), "must be //SERVICE"),
        ("//cloudresourcemanager.googleapis.com/folders/7", "must be //SERVICE"),
        ("//cloudresourcemanager.googleapis.com/projects/shop", "must be //SERVICE"),
        ("//storage.googleapis.com/projects/_/buckets/exports", "must be //SERVICE"),
    ],
)
def test_other_names_are_refused(resource: str, message: str) -> None:
    assert message in problem(resource)


@given(st.text(alphabet="/ab1-_.:%@", max_size=40), st.sampled_from(["shop", "vault", "42"]))
def test_accepted_names_are_in_the_project_and_have_no_kind(name: str, project: str) -> None:
    resource = f"//pubsub.googleapis.com/projects/{project}/{name}"
    target = generic_target(resource, "shop")
    if isinstance(target, Target):
        assert (project, target.full_name) == ("shop", resource)
        assert ResourceName.parse(target.full_name)


@given(st.sampled_from([each for each in TARGET_KINDS.values() if each.named_by is NamedBy.NAME]), st.data())
def test_each_policy_has_one_name(descriptor: object, data: st.DataObject) -> None:
    """A full resource name of a kind is never a target of the generic kind, whatever its parts are."""
    [found] = [each for each in TARGET_KINDS.values() if each is descriptor]
    part = st.from_regex("[a-z0-9][a-zA-Z0-9._~+-]{0,8}", fullmatch=True)
    parts = {name: data.draw(part) for name in ("location", "parent", "name")}
    resource = found.resource_pattern.format(project_id="shop", **parts)
    assert isinstance(generic_target(f"//{found.host}/{resource}", "shop"), Misnamed)
