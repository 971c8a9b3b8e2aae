"""Membership of principals in the members of policies."""

import pytest

from cloudrun_identity.iam.memberships import CERTAIN, Certain, membership

ANN = "user:ann@example.com"
ACCOUNT = "serviceAccount:web@shop-1234.iam.gserviceaccount.com"
POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci"
SUBJECT = f"principal:{POOL}/subject/repo:main"
GKE = "serviceAccount:shop-1234.svc.id.goog[web/checkout]"
GKE_POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/shop-1234.svc.id.goog"


@pytest.mark.parametrize(
    ("member", "principal"),
    [
        (ANN, "user:Ann@Example.com"),
        ("allUsers", ANN),
        ("allUsers", "group:ops@example.com"),
        ("allUsers", SUBJECT),
        ("allAuthenticatedUsers", ANN),
        ("allAuthenticatedUsers", ACCOUNT),
        (f"principalSet:{POOL}/*", SUBJECT),
        (GKE, f"principal:{GKE_POOL}/subject/ns/web/sa/checkout"),
        (f"principal:{GKE_POOL}/subject/ns/web/sa/checkout", GKE),
    ],
)
def test_membership_is_certain(member: str, principal: str) -> None:
    assert membership(member, principal) is CERTAIN


@pytest.mark.parametrize(
    ("member", "principal"),
    [
        ("group:ops@example.com", ANN),
        ("group:ops@example.com", ACCOUNT),
        ("domain:example.com", ANN),
        ("domain:example.com", "user:ann@example.org"),  # a domain covers secondary domains
        (f"principalSet:{POOL}/attribute.ref/main", SUBJECT),
        (f"principalSet:{GKE_POOL}/namespace/web", GKE),
        ("principalSet://cloudresourcemanager.googleapis.com/projects/1/type/ServiceAccount", ACCOUNT),
        ("principalSet://goog/cloudIdentityCustomerId/C1", ANN),
        ("projectOwner:shop-1234", ANN),
        ("allAuthenticatedUsers", SUBJECT),
        ("newForm:something", ANN),
    ],
)
def test_membership_depends_on_what_the_policy_does_not_show(member: str, principal: str) -> None:
    found = membership(member, principal)
    assert isinstance(found, str)
    assert member in found


@pytest.mark.parametrize(
    ("member", "principal"),
    [
        (ANN, "user:bob@example.com"),
        (ANN, "serviceAccount:ann@example.com"),
        ("domain:example.com", ACCOUNT),
        (f"principalSet:{POOL}/*", ANN),
        (f"principalSet:{POOL}-other/*", SUBJECT),
        (f"deleted:{ACCOUNT}?uid=1", ACCOUNT),
        ("deleted:newForm:x", ANN),
        ("group:ops@example.com", "group:all@example.com"),  # the list has the row of the group itself
        ("allAuthenticatedUsers", "allUsers"),
    ],
)
def test_principal_does_not_belong_to_the_member(member: str, principal: str) -> None:
    assert not isinstance(membership(member, principal), Certain | str)
