import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.principal_forms import is_typewide
from cloudrun_identity.iam.principals import (
    Principal,
    PrincipalKind,
    Tombstone,
    email,
    is_default_account,
    is_google_managed,
    is_public,
    is_service_account,
    normalise,
    parse,
    same_member,
    service_account_member,
)

POOL = "iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/p"
WORKFORCE = "iam.googleapis.com/locations/global/workforcePools/staff"

FORMS = {
    "user:ann@example.com": PrincipalKind.USER,
    "group:ops@example.com": PrincipalKind.GROUP,
    "serviceAccount:checkout@shop-prod.iam.gserviceaccount.com": PrincipalKind.SERVICE_ACCOUNT,
    "serviceAccount:shop-prod.svc.id.goog[jobs/prefect]": PrincipalKind.KUBERNETES_SERVICE_ACCOUNT,
    "serviceAccount:shop-prod.hub.id.goog[jobs/prefect]": PrincipalKind.KUBERNETES_SERVICE_ACCOUNT,
    "serviceAccount:example.com:shop.svc.id.goog[jobs/prefect]": PrincipalKind.KUBERNETES_SERVICE_ACCOUNT,
    "group:shop-prod.svc.id.goog:/allAuthenticatedUsers/": PrincipalKind.KUBERNETES_WORKLOADS,
    "domain:example.com": PrincipalKind.DOMAIN,
    "allUsers": PrincipalKind.ALL_USERS,
    "allAuthenticatedUsers": PrincipalKind.ALL_AUTHENTICATED_USERS,
    f"principal://{POOL}/subject/ns/jobs/sa/prefect": PrincipalKind.PRINCIPAL,
    f"principal://{WORKFORCE}/subject/ann@example.com": PrincipalKind.PRINCIPAL,
    f"principal://{WORKFORCE}/subject/Ann Example": PrincipalKind.PRINCIPAL,
    f"principalSet://{POOL}/attribute.repository/acme/shop": PrincipalKind.PRINCIPAL_SET,
    f"principalSet://{POOL}/attribute.team/Payments and Billing": PrincipalKind.PRINCIPAL_SET,
    f"principalSet://{POOL}/*": PrincipalKind.PRINCIPAL_SET,
    "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount": (
        PrincipalKind.PRINCIPAL_SET
    ),
    "projectOwner:shop-prod": PrincipalKind.PROJECT_OWNER,
    "projectEditor:shop-prod": PrincipalKind.PROJECT_EDITOR,
    "projectViewer:shop-prod": PrincipalKind.PROJECT_VIEWER,
    "deleted:user:ann@example.com?uid=123": PrincipalKind.DELETED,
    "deleted:group:ops@example.com?uid=123": PrincipalKind.DELETED,
    "deleted:serviceAccount:a@p.iam.gserviceaccount.com?uid=117": PrincipalKind.DELETED,
    f"deleted:principal://{WORKFORCE}/subject/ann": PrincipalKind.DELETED,
    f"deleted:principal://{WORKFORCE}/subject/Ann Example": PrincipalKind.DELETED,
}

emails = st.emails(domains=st.sampled_from(["example.com", "Shop-Prod.iam.gserviceaccount.com"]))
living = st.one_of(
    st.builds("{}:{}".format, st.sampled_from(["user", "group", "serviceAccount"]), emails),
    st.sampled_from([form for form, kind in FORMS.items() if kind is not PrincipalKind.DELETED]),
)
uids = st.text(alphabet=string.digits, min_size=1, max_size=21)
with_uid = st.builds(
    Tombstone, st.builds("{}:{}".format, st.sampled_from(["user", "group", "serviceAccount"]), emails), uids
)
subjects = st.builds(f"principal://{POOL}/subject/{{}}".format, st.text())
without_uid = st.builds(Tombstone, subjects, st.just(""))
members = st.one_of(living, st.builds(str, with_uid), st.builds(str, without_uid), st.text())


@pytest.mark.parametrize(("text", "kind"), FORMS.items())
def test_every_documented_form_has_its_kind(text: str, kind: PrincipalKind) -> None:
    assert parse(text).kind is kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user:",
        "User:ann@example.com",
        "allusers",
        "principal:iam.googleapis.com/x",
        "iamServiceAccount:x",
        "deleted:serviceAccount:a@p.iam.gserviceaccount.com",
        "deleted:serviceAccount:a@p.iam.gserviceaccount.com?uid=",
        "deleted:serviceAccount:a@p.iam.gserviceaccount.com?uid=x",
        "deleted:allUsers?uid=1",
        "deleted:deleted:user:a@example.com?uid=1?uid=1",
    ],
)
def test_undocumented_form_is_opaque_and_kept_verbatim(text: str) -> None:
    assert parse(text) == Principal(PrincipalKind.OPAQUE, text)
    assert normalise(text) == text


@given(members)
def test_parse_accepts_any_text_and_preserves_it(text: str) -> None:
    assert str(parse(text)) == text


@given(members)
def test_normalise_is_idempotent_and_keeps_the_member(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert same_member(text, normalise(text))
    assert parse(normalise(text)).kind is parse(text).kind


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:Ann@Example.com", "user:ann@example.com"),
        ("group:OPS@example.com", "group:ops@example.com"),
        ("domain:Example.COM", "domain:example.com"),
        ("serviceAccount:A@p.iam.gserviceaccount.com", "serviceAccount:a@P.iam.gserviceaccount.com"),
        ("serviceAccount:P.svc.id.goog[jobs/x]", "serviceAccount:p.svc.id.goog[jobs/x]"),
        ("serviceAccount:P.hub.id.goog[jobs/x]", "serviceAccount:p.hub.id.goog[jobs/x]"),
        ("group:P.SVC.id.goog:/allAuthenticatedUsers/", "group:p.svc.id.goog:/allAuthenticatedUsers/"),
        ("deleted:serviceAccount:A@p.com?uid=1", "deleted:serviceAccount:a@p.com?uid=1"),
    ],
)
def test_emails_and_domains_compare_case_insensitively(one: str, other: str) -> None:
    assert same_member(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("user:ann@example.com", "group:ann@example.com"),
        ("user:ann@example.com", "USER:ann@example.com"),
        ("group:ops@korp.com", "group:ops@\u212aorp.com"),
        ("serviceAccount:p.svc.id.goog[jobs/X]", "serviceAccount:p.svc.id.goog[jobs/x]"),
        ("serviceAccount:p.hub.id.goog[jobs/x]", "serviceAccount:p.svc.id.goog[jobs/x]"),
        ("group:p.svc.id.goog:/allAuthenticatedUsers/", "group:p.svc.id.goog:/allauthenticatedusers/"),
        (f"principalSet://{POOL}/attribute.team/A B", f"principalSet://{POOL}/attribute.team/A  B"),
        (f"principal://{POOL}/subject/A", f"principal://{POOL}/subject/a"),
        (f"principalSet://{POOL}/group/A", f"principalSet://{POOL}/group/a"),
        (f"deleted:principal://{POOL}/subject/A", f"deleted:principal://{POOL}/subject/a"),
        ("deleted:user:a@example.com?uid=1", "deleted:user:a@example.com?uid=2"),
        ("deleted:user:a@example.com?uid=1", "user:a@example.com"),
        ("allUsers", "allAuthenticatedUsers"),
    ],
)
def test_other_parts_compare_exactly(one: str, other: str) -> None:
    assert not same_member(one, other)


@given(st.one_of(with_uid, without_uid))
def test_tombstone_survives_a_round_trip(tombstone: Tombstone) -> None:
    assert Tombstone.parse(str(tombstone)) == tombstone


@given(members)
def test_member_that_is_not_deleted_is_no_tombstone(text: str) -> None:
    tombstone = Tombstone.parse(text)
    assert tombstone is None or (text.startswith("deleted:") and str(tombstone) == text)


def test_tombstone_has_the_member_and_its_unique_id() -> None:
    assert Tombstone.parse("deleted:serviceAccount:a@p.iam.gserviceaccount.com?uid=117") == Tombstone(
        "serviceAccount:a@p.iam.gserviceaccount.com", "117"
    )


def test_public_members_are_all_users_and_authenticated_users() -> None:
    assert {form for form in FORMS if is_public(form)} == {"allUsers", "allAuthenticatedUsers"}


def test_typewide_members_cover_all_of_a_type() -> None:
    assert {form for form in FORMS if is_typewide(form)} == {
        "domain:example.com",
        "group:shop-prod.svc.id.goog:/allAuthenticatedUsers/",
        f"principalSet://{POOL}/*",
        "principalSet://cloudresourcemanager.googleapis.com/projects/42/type/ServiceAccount",
        *NOT_GRANTABLE,
    }


NOT_GRANTABLE = {form for form in FORMS if form.startswith(("project", "deleted:", "all"))}
"""Forms that no spec may name; they are not one principal either."""


@pytest.mark.parametrize(
    "member",
    [
        "principalSet://cloudresourcemanager.googleapis.com/folders/7/type/ServiceAgent",
        "principalSet://cloudresourcemanager.googleapis.com/organizations/123",
        "principalSet://goog/public:all",
        "principalSet://goog/cloudIdentityCustomerId/C01abc35",
        f"principalSet://{POOL}/kubernetes.cluster/https://container.googleapis.com/v1/projects/p",
        f"principalSet://{POOL}/attribute.repository/*",
        f"principalSet://{POOL}/attribute.repository/",
        "principal://goog/subject/ann@example.com",
        "principal://iam.googleapis.com/a-form-of-the-future",
        "group:p.svc.id.goog:/allAuthenticatedUsers/",
    ],
)
def test_form_that_is_not_listed_is_typewide(member: str) -> None:
    assert is_typewide(member)


@pytest.mark.parametrize(
    "member",
    [
        f"principalSet://{POOL}/group/ci",
        f"principalSet://{POOL}/attribute.repository/acme/shop",
        f"principalSet://{POOL}/namespace/jobs",
        f"principalSet://{WORKFORCE}/group/staff@example.com",
        f"principal://{WORKFORCE}/subject/ann@example.com",
        f"principal://{POOL}/kubernetes.serviceaccount.uid/123",
    ],
)
def test_named_sets_and_single_principals_are_not_typewide(member: str) -> None:
    assert not is_typewide(member)


def test_service_account_is_not_deleted_and_of_google_cloud() -> None:
    assert [form for form in FORMS if is_service_account(form)] == [
        "serviceAccount:checkout@shop-prod.iam.gserviceaccount.com"
    ]


def test_users_groups_and_service_accounts_have_an_email() -> None:
    assert [email(form) for form in FORMS if email(form)] == [
        "ann@example.com",
        "ops@example.com",
        "checkout@shop-prod.iam.gserviceaccount.com",
    ]


@given(emails)
def test_account_member_contains_the_email(address: str) -> None:
    assert email(service_account_member(address)) == address


@pytest.mark.parametrize(
    "address",
    [
        "service-42@serverless-robot-prod.iam.gserviceaccount.com",
        "service-42@gcp-sa-pubsub.iam.gserviceaccount.com",
        "p42-123@gcp-sa-logging.iam.gserviceaccount.com",
        "Service-42@Compute-System.iam.gserviceaccount.com",
        "service-42@gae-api-prod.google.com.iam.gserviceaccount.com",
        "42@cloudservices.gserviceaccount.com",
        "42@cloudbuild.gserviceaccount.com",
    ],
)
def test_service_agents_are_managed_by_google(address: str) -> None:
    assert is_google_managed(address)
    assert not is_default_account(address)


@pytest.mark.parametrize(
    "address",
    [
        "42-compute@developer.gserviceaccount.com",
        "shop-prod@appspot.gserviceaccount.com",
        "42-Compute@Developer.gserviceaccount.com",
        "42-compute@developer.s3ns-system.gserviceaccount.com",
    ],
)
def test_default_accounts_are_not_service_agents(address: str) -> None:
    assert is_default_account(address)
    assert not is_google_managed(address)


@pytest.mark.parametrize(
    "address",
    [
        "checkout@shop-prod.iam.gserviceaccount.com",
        "service-42@shop-prod.iam.gserviceaccount.com",
        "42-compute@developer.example.com.iam.gserviceaccount.com",
        "42-compute@developer.gserviceaccount.com.example.com",
        "ann@example.com",
        "ann@gserviceaccount.com.example.com",
        "",
    ],
)
def test_user_managed_account_is_neither_agent_nor_default(address: str) -> None:
    assert not is_google_managed(address)
    assert not is_default_account(address)
