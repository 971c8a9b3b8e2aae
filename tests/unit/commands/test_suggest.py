"""`cloudrun-identity suggest` without access to Google Cloud."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli

SERVICE = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: checkout, namespace: "417203958816", labels: {cloud.googleapis.com/location: europe-west1}}
spec:
  template:
    spec:
      containers:
      - env: [{name: ORDERS, value: projects/payments-prod-1234/topics/orders}]
"""
PROJECT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: payments-prod}
spec: {projectID: payments-prod-1234, namespaces: {names: [payments]}}
status: {projectNumber: "417203958816"}
"""
ID = ("--project", "payments-prod-1234")
LOCATION = ("--location", "europe-west1")


def suggest(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(cli, ["suggest", *arguments, "--google-endpoint=127.0.0.1:9"], input=text)


def test_yaml_output_is_a_stream_of_manifests_with_comments() -> None:
    result = suggest("-f", "-", *ID, text=SERVICE)
    assert result.exit_code == 2
    identity, attachment = yaml.safe_load_all(result.stdout)
    assert (identity["kind"], attachment["kind"]) == ("CloudRunIdentity", "IdentityAttachment")
    assert (
        "  # The workload publishes to the topic projects/payments-prod-1234/topics/orders" in result.stdout
    )
    assert result.stderr == "Suggested 1 grant and 1 identity for 1 workload.\n"


def test_json_output_has_grants_and_manifests() -> None:
    answer = json.loads(suggest("-f", "-", *ID, "-o", "json", text=SERVICE).stdout)
    assert (answer["schemaVersion"], answer["result"]) == (1, "Suggestions")
    (account,) = answer["accounts"]
    assert account["suggested"]
    assert account["workloads"] == [
        {
            "projectID": "payments-prod-1234",
            "kind": "Service",
            "location": "europe-west1",
            "name": "checkout",
        }
    ]
    (grant,) = account["grants"]
    assert (grant["role"], grant["target"]) == (
        "roles/pubsub.publisher",
        {"kind": "PubSubTopic", "name": "orders"},
    )
    assert [each["kind"] for each in answer["manifests"]] == ["CloudRunIdentity", "IdentityAttachment"]


def test_managed_project_in_the_files_names_project_and_namespace() -> None:
    result = suggest("-f", "-", text=f"{SERVICE}---{PROJECT}")
    assert result.exit_code == 2
    for obj in yaml.safe_load_all(result.stdout):
        assert obj["metadata"]["namespace"] == "payments"
        assert obj["spec"]["projectRef"] == {"name": "payments-prod"}
    assert '"names":["orders"]' in result.stdout


def test_suggestions_for_a_file_with_its_suggestions_are_none() -> None:
    first = suggest("-f", "-", text=f"{SERVICE}---{PROJECT}")
    second = suggest("-f", "-", text=f"{SERVICE}---{PROJECT}---\n{first.stdout}")
    assert (second.exit_code, second.stdout) == (0, "")
    assert second.stderr == "Nothing to suggest for 1 workload.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name manifests with -f, a project with --project, or a cluster with --context"),
        (ID, "name the locations of the workloads of payments-prod-1234 with --location"),
        ((*ID, *LOCATION, "function/x"), "'function/x' is not service/NAME, job/NAME, workerpool/NAME"),
        (("-f", "-", *LOCATION, "service/x"), "name the project of service/x with --project"),
        ((*ID, "job/x"), "name the location of job/x with --location"),
        (("-f", "-"), "there is no Cloud Run manifest or IdentityAttachment in -"),
        (("-o", "xml"), "Invalid value for '-o'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = suggest(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert message in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SERVICE, "-: Service checkout: names project 417203958816, by its number only: name the ID"),
        (SERVICE.replace('namespace: "417203958816", ', ""), "-: Service checkout: names no project: name"),
        (SERVICE.replace("containers:", "containers: {}\n      volumes:"), "containers: Input should be"),
    ],
)
def test_incomplete_cloud_run_manifest_names_the_remedy(text: str, message: str) -> None:
    result = suggest("-f", "-", *(ID if "Input" in message else ()), text=text)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert message in result.stderr


def test_help_has_examples_and_exit_codes() -> None:
    result = CliRunner().invoke(cli, ["suggest", "--help"])
    assert "Examples:" in result.stdout
    assert "Exit codes:" in result.stdout


def test_files_of_a_directory_belong_together(tmp_path: Path) -> None:
    (tmp_path / "project.yaml").write_text(PROJECT)
    (tmp_path / "service.yaml").write_text(SERVICE)
    assert "payments-prod" in suggest("-f", str(tmp_path)).stdout
