"""The table of service agents, and the agents that it finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudrun_identity.iam.principals import is_default_account, is_google_managed
from cloudrun_identity.iam.service_agents import (
    CLOUD_RUN,
    NoServiceAgent,
    ServiceAgent,
    agent_email,
    project_number_of,
    service_agents,
)

TABLE = service_agents()
AGENTS = [agent for agents in TABLE.by_service.values() for agent in agents]
numbers = st.integers(10**11, 10**13).map(str)


def reason(service: str, name: str = "") -> str:
    found = TABLE.find(service, name)
    assert isinstance(found, NoServiceAgent)
    return found.reason


@pytest.mark.parametrize(
    ("service", "agent"),
    [
        (CLOUD_RUN, "service-42@serverless-robot-prod.iam.gserviceaccount.com"),
        ("pubsub.googleapis.com", "service-42@gcp-sa-pubsub.iam.gserviceaccount.com"),
        ("eventarc.googleapis.com", "service-42@gcp-sa-eventarc.iam.gserviceaccount.com"),
        ("cloudscheduler.googleapis.com", "service-42@gcp-sa-cloudscheduler.iam.gserviceaccount.com"),
        ("cloudtasks.googleapis.com", "service-42@gcp-sa-cloudtasks.iam.gserviceaccount.com"),
        ("artifactregistry.googleapis.com", "service-42@gcp-sa-artifactregistry.iam.gserviceaccount.com"),
        ("appengineflex.googleapis.com", "service-42@gae-api-prod.google.com.iam.gserviceaccount.com"),
        ("storagetransfer.googleapis.com", "project-42@storage-transfer-service.iam.gserviceaccount.com"),
        ("logging.googleapis.com", "service-42@gcp-sa-logging.iam.gserviceaccount.com"),
    ],
)
def test_service_resolves_to_its_only_or_primary_agent(service: str, agent: str) -> None:
    assert agent_email(service, "42") == agent


@pytest.mark.parametrize(
    ("service", "name", "agent"),
    [
        ("cloudbuild.googleapis.com", "cloudbuild", "42@cloudbuild.gserviceaccount.com"),
        (
            "cloudbuild.googleapis.com",
            "gcp-sa-cloudbuild",
            "service-42@gcp-sa-cloudbuild.iam.gserviceaccount.com",
        ),
        (
            "storage.googleapis.com",
            "gs-project-accounts",
            "service-42@gs-project-accounts.iam.gserviceaccount.com",
        ),
        (
            "bigquery.googleapis.com",
            "bigquery-encryption",
            "bq-42@bigquery-encryption.iam.gserviceaccount.com",
        ),
        (CLOUD_RUN, "gcp-sa-run-ai", "service-42@gcp-sa-run-ai.iam.gserviceaccount.com"),
    ],
)
def test_one_of_several_agents_is_found_by_its_name(service: str, name: str, agent: str) -> None:
    found = TABLE.find(service, name)
    assert isinstance(found, ServiceAgent)
    assert found.email("42") == agent


def test_several_agents_without_a_primary_one_are_listed() -> None:
    assert reason("cloudbuild.googleapis.com") == (
        "cloudbuild.googleapis.com has several service agents; set agent to one of cloudbuild, "
        "gcp-sa-cloudbuild"
    )


def test_unknown_agent_of_a_service_lists_its_agents() -> None:
    assert reason("cloudbuild.googleapis.com", "cloud-build") == (
        "cloudbuild.googleapis.com has no service agent cloud-build; its agents are cloudbuild, "
        "gcp-sa-cloudbuild"
    )


def test_unknown_service_names_the_source_and_a_similar_one() -> None:
    assert reason("pubsubs.googleapis.com") == (
        "pubsubs.googleapis.com has no service agent in https://cloud.google.com/iam/docs/service-agents of "
        f"{TABLE.date}; use pubsub.googleapis.com if you mean that service; name an agent that is newer with "
        "principal: serviceAccount:EMAIL"
    )
    assert "if you mean" not in reason("zzz.googleapis.com")


def test_agents_of_a_service_have_different_names() -> None:
    names = [(agent.service, agent.name) for agent in AGENTS]
    assert len(names) == len(set(names)) > 250


def test_at_most_one_agent_of_a_service_is_primary() -> None:
    for agents in TABLE.by_service.values():
        assert sum(agent.is_primary for agent in agents) <= 1


@given(st.sampled_from(AGENTS), numbers)
def test_email_of_every_agent_leads_back_to_its_service_and_project(agent: ServiceAgent, number: str) -> None:
    email = agent.email(number)
    assert is_google_managed(email)
    assert not is_default_account(email)
    assert project_number_of(email.upper()) == number
    assert TABLE.service_of(email.upper()) == agent.service


@pytest.mark.parametrize(
    "email",
    [
        "service-42@shop-prod.iam.gserviceaccount.com",
        "42-compute@developer.gserviceaccount.com",
        "service-42@gcp-sa-pubsub.iam.gserviceaccount.com.example.com",
        "checkout@shop-prod.iam.gserviceaccount.com",
        "ann@example.com",
        "",
    ],
)
def test_other_accounts_have_no_service_and_no_project_number(email: str) -> None:
    assert not project_number_of(email)
    assert not TABLE.service_of(email)


def test_agent_of_an_unknown_service_has_a_project_number_only() -> None:
    email = "service-42@gcp-sa-of-the-future.iam.gserviceaccount.com"
    assert project_number_of(email) == "42"
    assert not TABLE.service_of(email)
