"""Suggested grants for workloads."""

from typing import Any

import pytest
import yaml
from google.cloud.run_v2 import types
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.api import KINDS, WorkloadKind
from cloudrun_identity.api.validation import complaints
from cloudrun_identity.exporting.declared import Declared
from cloudrun_identity.exporting.suggestion_manifests import documents, text_of
from cloudrun_identity.exporting.suggestions import Suggestion, suggest, without
from cloudrun_identity.gcp.workloads import Workload, WorkloadState, state_of

PROJECT = """
kind: ManagedProject
metadata: {name: payments-prod}
spec:
  projectID: payments-prod-1234
  namespaces: {names: [payments]}
  guardrails:
    grants:
    - roles: [roles/secretmanager.secretAccessor]
      targetKinds: [Secret]
      names: [stripe-key]
      members: [identities]
      namespaces: [payments]
status: {projectNumber: "417203958816"}
"""
IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout, namespace: payments}
spec: {projectRef: {name: payments-prod}}
"""
EMAIL = "checkout@payments-prod-1234.iam.gserviceaccount.com"
OTHER = "other@payments-prod-1234.iam.gserviceaccount.com"
API = {"apiVersion": "cloudrun-identity.dev/v1alpha1"}


def declared(*texts: str) -> Declared:
    return Declared([{**API, **yaml.safe_load(text)} for text in texts])


def state(
    name: str = "checkout", account: str = EMAIL, kind: WorkloadKind = WorkloadKind.SERVICE, **template: Any
) -> WorkloadState:
    fields = {"service_account": account, **template}
    message: Any = types.Service(template=types.RevisionTemplate(**fields))
    if kind is WorkloadKind.JOB:
        message = types.Job(template=types.ExecutionTemplate(template=types.TaskTemplate(**fields)))
    return state_of(Workload(kind, "payments-prod-1234", "europe-west1", name), message)


def secret(name: str) -> types.Volume:
    return types.Volume(name=f"of-{name[-4:]}", secret=types.SecretVolumeSource(secret=name))


def variable(value: str) -> types.Container:
    return types.Container(env=[types.EnvVar(name="NAME", value=value)])


def roles(suggestions: tuple[Suggestion, ...]) -> list[str]:
    return [
        f"{grant.need.access.role} on {grant.need.target}" for each in suggestions for grant in each.grants
    ]


def objects(suggestions: tuple[Suggestion, ...], known: Declared) -> list[dict[str, Any]]:
    """Return the objects as they are in the YAML stream, which must be valid."""
    text = text_of(suggestions, documents(suggestions, known))
    found = [document for document in yaml.safe_load_all(text) if document]
    for obj in found:
        assert not complaints(KINDS[obj["kind"]].model_validate(obj))
    assert found == [document.obj for document in documents(suggestions, known)]
    return found


def test_declared_identity_is_suggested_bindings_in_its_namespace() -> None:
    known = declared(PROJECT, IDENTITY)
    found = suggest([state(volumes=[secret("stripe-key")])], known, "", {})
    (binding,) = objects(found, known)
    assert binding["kind"] == "IAMBinding"
    assert binding["metadata"]["namespace"] == "payments"
    assert binding["spec"] == {
        "projectRef": {"name": "payments-prod"},
        "target": {"kind": "Secret", "name": "stripe-key"},
        "role": "roles/secretmanager.secretAccessor",
        "members": [{"identityRef": {"name": "checkout"}}],
    }


def test_account_without_an_identity_is_suggested_as_a_principal() -> None:
    known = declared(PROJECT)
    found = suggest([state(volumes=[secret("stripe-key")])], known, "", {})
    (binding,) = objects(found, known)
    assert binding["spec"]["members"] == [{"principal": f"serviceAccount:{EMAIL}"}]


@pytest.mark.parametrize("account", ["", "417203958816-compute@developer.gserviceaccount.com"])
def test_workload_of_the_default_account_is_suggested_an_identity(account: str) -> None:
    known = declared(PROJECT)
    found = suggest([state(account=account, volumes=[secret("stripe-key")])], known, "", {})
    identity, attachment = objects(found, known)
    assert (identity["kind"], identity["metadata"]) == (
        "CloudRunIdentity",
        {"name": "checkout", "namespace": "payments"},
    )
    assert identity["spec"]["roles"] == [
        {
            "role": "roles/secretmanager.secretAccessor",
            "target": {"kind": "Secret", "name": "stripe-key"},
        }
    ]
    assert attachment["spec"]["workload"] == {
        "kind": "Service",
        "location": "europe-west1",
        "name": "checkout",
    }
    assert attachment["spec"]["identityRef"] == {"name": "checkout"}


def test_workloads_of_the_default_account_get_distinct_identities() -> None:
    known = declared(PROJECT, IDENTITY)
    states = [
        state("checkout", ""),
        state("checkout", "", WorkloadKind.JOB),
        state("web", ""),
        state("x" * 49, ""),
    ]
    names = [obj["metadata"]["name"] for obj in objects(suggest(states, known, "", {}), known)]
    identities = names[::2]
    assert len(set(identities)) == 4
    assert "checkout" not in identities, "an object with this name exists"
    assert "web-account" in identities, "an account ID has at least 6 characters"
    assert all(6 <= len(name) <= 30 for name in identities)


@pytest.mark.parametrize(
    "grant",
    [
        "target: {kind: Secret, name: stripe-key}\n  role: roles/secretmanager.secretAccessor",
        "target: {kind: Project}\n  role: roles/secretmanager.admin",
    ],
    ids=["least", "larger"],
)
def test_declared_grant_is_not_suggested_again(grant: str) -> None:
    binding = f"""
kind: IAMBinding
metadata: {{name: x, namespace: payments}}
spec:
  projectRef: {{name: payments-prod}}
  {grant}
  members: [{{identityRef: {{name: checkout}}}}]
"""
    states = [state(volumes=[secret("stripe-key")])]
    assert roles(suggest(states, declared(PROJECT, IDENTITY), "", {}))
    assert not roles(suggest(states, declared(PROJECT, IDENTITY, binding), "", {}))


@pytest.mark.parametrize(
    "grant",
    [
        "target: {kind: Secret, name: other}\n  role: roles/secretmanager.secretAccessor",
        "target: {kind: Secret, name: stripe-key}\n  role: roles/secretmanager.viewer",
        "target: {kind: Secret, name: stripe-key}\n  role: roles/secretmanager.secretAccessor\n"
        "  condition: {title: t, expression: request.time.getHours() < 9}",
    ],
    ids=["other target", "other role", "other condition"],
)
def test_declared_grant_that_does_not_suffice_changes_nothing(grant: str) -> None:
    binding = f"""
kind: IAMBinding
metadata: {{name: x, namespace: payments}}
spec:
  projectRef: {{name: payments-prod}}
  {grant}
  members: [{{identityRef: {{name: checkout}}}}]
"""
    states = [state(volumes=[secret("stripe-key")])]
    assert roles(suggest(states, declared(PROJECT, IDENTITY, binding), "", {}))


def test_attachment_decides_for_which_account_grants_are_suggested() -> None:
    attachment = """
kind: IdentityAttachment
metadata: {name: checkout, namespace: payments}
spec:
  projectRef: {name: payments-prod}
  workload: {kind: Service, location: europe-west1, name: checkout}
  identityRef: {name: checkout}
"""
    known = declared(PROJECT, IDENTITY, attachment)
    (found,) = suggest([state(account="", volumes=[secret("stripe-key")])], known, "", {})
    assert (found.account, found.is_new) == (EMAIL, False)


def test_workloads_of_one_account_share_one_grant_with_both_reasons() -> None:
    states = [
        state(volumes=[secret("stripe-key")]),
        state("nightly", kind=WorkloadKind.JOB, volumes=[secret("stripe-key")]),
    ]
    (found,) = suggest(states, declared(PROJECT, IDENTITY), "", {})
    (grant,) = found.grants
    assert grant.need.sources == (
        "Job europe-west1/nightly: volume of--key",
        "Service europe-west1/checkout: volume of--key",
    )


def test_grant_that_guardrails_refuse_is_marked_with_the_missing_entry() -> None:
    known = declared(PROJECT, IDENTITY)
    found = suggest([state(volumes=[secret("stripe-key"), secret("tls-key")])], known, "", {})
    text = text_of(found, documents(found, known))
    assert text.count("# Not admitted: ") == 1
    assert "kubectl patch managedproject payments-prod --type=json" in text
    assert '"names":["tls-key"]' in text
    assert len(objects(found, known)) == 2


def test_grant_for_the_service_agent_is_suggested_once_and_not_for_the_identity() -> None:
    images = [types.Container(image="europe-docker.pkg.dev/images-1/app/web")]
    known = declared(PROJECT, IDENTITY)
    states = [
        state(containers=images),
        state("other", "other@payments-prod-1234.iam.gserviceaccount.com", containers=images),
    ]
    found = suggest(states, known, "", {})
    (binding,) = objects(found, known)
    assert binding["spec"]["members"] == [
        {"cloudRunServiceAgentOf": {"projectRef": {"name": "payments-prod"}}}
    ]
    assert binding["spec"]["projectRef"] == {"name": "images-1"}
    text = text_of(found, documents(found, known))
    assert "No ManagedProject of project images-1 is known" in text
    assert "--member=serviceAccount:service-417203958816@serverless-robot-prod" in text


def test_number_of_a_known_project_is_replaced_by_its_id() -> None:
    number = "projects/417203958816/secrets/stripe-key"
    (found,) = suggest([state(volumes=[secret(number)])], declared(PROJECT, IDENTITY), "", {})
    assert found.grants[0].need.target.project_id == "payments-prod-1234"
    assert found.grants[0].refusal is None


def test_held_grant_is_left_out() -> None:
    found = suggest([state(volumes=[secret("stripe-key"), secret("tls-key")])], declared(PROJECT), "", {})
    assert roles(without(found, {found[0].grants[0]})) == roles(found)[1:]


NAMES = st.sampled_from(
    ["stripe-key", "tls-key", "projects/42/secrets/a-key", "projects/417203958816/secrets/b-key"]
)
VALUES = st.sampled_from(
    [
        "projects/payments-prod-1234/topics/orders",
        "projects/other-1/topics/orders",
        "projects/payments-prod-1234/subscriptions/mails",
        "projects/other-1/locations/us-east1/queues/mails",
        "none of these",
    ]
)
IMAGES = st.sampled_from(["us-docker.pkg.dev/images-1/app/web", "docker.io/web", "gcr.io/images-1/web"])
STATES = st.builds(
    lambda name, kind, account, names, values, image, bucket, key: state(
        name,
        account,
        kind,
        volumes=[
            *map(secret, names),
            types.Volume(name="b", gcs=types.GCSVolumeSource(bucket="data", read_only=bucket)),
            types.Volume(
                name="sql",
                cloud_sql_instance=types.CloudSqlInstance(
                    instances=["other-1:us:db", "payments-prod-1234:us:db"]
                ),
            ),
        ],
        containers=[types.Container(image=image), *map(variable, values)],
        encryption_key=key,
    ),
    st.sampled_from(["web", "checkout", "nightly-settlement-of-the-orders-of-the-day"]),
    st.sampled_from([WorkloadKind.SERVICE, WorkloadKind.JOB]),
    st.sampled_from(["", EMAIL, OTHER]),
    st.lists(NAMES, unique=True, max_size=4),
    st.lists(VALUES, unique=True, max_size=3),
    IMAGES,
    st.booleans(),
    st.sampled_from(["", "projects/payments-prod-1234/locations/us/keyRings/r/cryptoKeys/k"]),
)


@pytest.mark.hypothesis
@given(
    states=st.lists(STATES, max_size=4, unique_by=lambda each: each.workload),
    texts=st.sampled_from([(), (PROJECT,), (PROJECT, IDENTITY)]),
)
def test_applied_suggestions_yield_no_further_suggestions(
    states: list[WorkloadState], texts: tuple[str, ...]
) -> None:
    known = declared(*texts)
    found = suggest(states, known, "", {})
    applied = [{**API, **yaml.safe_load(text)} for text in texts] + objects(found, known)
    after = suggest(states, Declared(applied), "", {})
    assert all(each.is_empty for each in after), roles(after)
