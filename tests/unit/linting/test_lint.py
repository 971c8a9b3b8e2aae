"""`cloudrun-identity lint`: findings that need neither a cluster nor Google Cloud."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudrun_identity.cli import cli

EXAMPLES = Path(__file__).parents[3] / "examples"

PROJECT = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: ManagedProject
metadata: {name: shop}
spec:
  projectID: acme-shop
  namespaces: {names: [shop]}
  guardrails:
    grants:
    - {roles: [roles/run.viewer, "projects/*/roles/*"], targetKinds: [Project], members: ["*"]}
    customRoles: {permissions: ["run.*"]}
"""


def manifest(kind: str, spec: str, name: str = "x") -> str:
    return f"""
---
apiVersion: cloudrun-identity.dev/v1alpha1
kind: {kind}
metadata: {{name: {name}, namespace: shop}}
spec: {{projectRef: {{name: shop}}, {spec}}}
"""


def binding(role: str, member: str = "principal: 'group:ops@example.com'") -> str:
    return manifest("IAMBinding", f"target: {{kind: Project}}, role: {role}, members: [{{{member}}}]")


def lint(tmp_path: Path, text: str, *options: str) -> Result:
    (tmp_path / "all.yaml").write_text(text)
    return CliRunner().invoke(cli, ["lint", "-f", str(tmp_path / "all.yaml"), *options])


def found(tmp_path: Path, text: str) -> list[tuple[str, str, str]]:
    """Return the level, the rule and the message of each finding."""
    result = lint(tmp_path, text, "-o", "json")
    listed = json.loads(result.stdout)["findings"]
    return [(each["level"], each["rule"], each["message"]) for each in listed]


def test_admitted_objects_have_no_findings(tmp_path: Path) -> None:
    role = manifest("CustomRole", "roleID: runner, permissions: [run.jobs.get]")
    text = PROJECT + binding("roles/run.viewer") + role
    assert found(tmp_path, text) == []
    assert lint(tmp_path, text).exit_code == 0


@pytest.mark.parametrize(
    "example", sorted(filter(Path.is_dir, EXAMPLES.iterdir())), ids=lambda path: path.name
)
def test_examples_have_no_errors_and_no_warnings(example: Path) -> None:
    result = CliRunner().invoke(cli, ["lint", "-f", str(example), "--strict"])
    assert result.exit_code == 0, result.output


def test_refusal_of_the_guardrails_is_an_error_with_the_missing_entry(tmp_path: Path) -> None:
    ((level, rule, message),) = found(tmp_path, PROJECT + binding("roles/run.admin"))
    assert (level, rule) == ("error", "DeniedByGuardrail")
    assert "does not admit roles/run.admin" in message
    assert "kubectl patch managedproject shop" in message


def test_missing_project_is_a_warning_because_its_file_may_be_elsewhere(tmp_path: Path) -> None:
    ((level, rule, message),) = found(tmp_path, binding("roles/run.admin"))
    assert (level, rule) == ("warning", "DependencyNotFound")
    assert message == (
        "spec.projectRef: ManagedProject shop is not in the files, so that the guardrails are not checked; "
        "add its file"
    )
    assert lint(tmp_path, binding("roles/run.admin")).exit_code == 0
    assert lint(tmp_path, binding("roles/run.admin"), "--strict").exit_code == 1


def test_reference_to_an_object_that_is_not_in_the_files(tmp_path: Path) -> None:
    text = PROJECT + binding("roles/run.viewer", "identityRef: {name: absent}")
    ((_, _, message),) = found(tmp_path, text)
    assert message == "spec.members[0]: CloudRunIdentity shop/absent is not in the files"


def test_two_objects_for_one_account_are_a_conflict(tmp_path: Path) -> None:
    identities = [manifest("CloudRunIdentity", "accountID: web-account", name) for name in ("a", "b")]
    ((level, rule, _),) = found(tmp_path, PROJECT + "".join(identities))
    assert (level, rule) == ("error", "Conflict")


def test_violated_schema_is_an_error_with_the_field(tmp_path: Path) -> None:
    ((level, _, message),) = found(tmp_path, PROJECT + binding("viewer"))
    assert level == "error"
    assert "spec.role" in message


def test_violated_rule_of_the_crd_is_an_error(tmp_path: Path) -> None:
    spec = "target: {kind: Service, name: web}, role: roles/run.invoker, members: [{principal: allUsers}]"
    findings = found(tmp_path, PROJECT + manifest("IAMBinding", spec))
    assert [
        each
        for each in findings
        if each[:2] == ("error", "InvalidSpec") and "spec.target.location" in each[2]
    ]


def test_what_depends_on_google_cloud_is_no_finding(tmp_path: Path) -> None:
    attachment = manifest(
        "IdentityAttachment",
        "workload: {kind: Service, location: europe-west1, name: web}, identityRef: {name: web}",
    )
    project = PROJECT + "    workloads: [{names: [web]}]\n"
    identity = manifest("CloudRunIdentity", "accountID: web-account", "web")
    unknown_role = binding("projects/acme-shop/roles/unknown")
    assert found(tmp_path, project + identity + attachment + unknown_role) == []


def test_finding_names_the_file_and_the_line(tmp_path: Path) -> None:
    text = PROJECT + binding("roles/run.admin")
    first_line = text.splitlines().index("---") + 2
    assert lint(tmp_path, text).output.startswith(
        f"{tmp_path / 'all.yaml'}:{first_line}: error: IAMBinding shop/x: "
    )
    annotated = lint(tmp_path, text, "-o", "github").output
    assert annotated.startswith(
        f"::error file={tmp_path / 'all.yaml'},line={first_line},title=IAMBinding shop/x"
    )
    log: Any = json.loads(lint(tmp_path, text, "-o", "sarif").stdout)
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["level"], place["region"]["startLine"]) == ("error", first_line)


def test_file_that_is_not_yaml_is_an_error(tmp_path: Path) -> None:
    result = lint(tmp_path, "a: [")
    assert result.exit_code == 1
    assert "the file is not valid YAML [InvalidManifest]" in result.output


def test_files_without_objects_are_refused(tmp_path: Path) -> None:
    result = lint(tmp_path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")
    assert (result.exit_code, result.output) == (
        1,
        f"Error: there is no object of cloudrun-identity.dev in {tmp_path / 'all.yaml'}\n",
    )


AGENT = "serviceAgentOf: {projectRef: {name: shop}, service: pubsub.googleapis.com}"


def test_refusal_of_an_agent_is_a_warning_because_its_number_is_unknown(tmp_path: Path) -> None:
    listed = "serviceAccount:service-417203958816@gcp-sa-pubsub.iam.gserviceaccount.com"
    project = PROJECT.replace('members: ["*"]', f'members: ["{listed}"]')
    ((level, rule, message),) = found(tmp_path, project + binding("roles/run.viewer", AGENT))
    assert (level, rule) == ("warning", "DeniedByGuardrail")
    assert message.endswith(
        "The numbers of projects are not known without Google Cloud: number-of-acme-shop is what "
        "gcloud projects describe acme-shop --format='value(projectNumber)' prints. An entry that has the "
        "number admits such a member"
    )


def test_command_that_admits_an_agent_works_when_pasted(tmp_path: Path) -> None:
    """It prints the number of the project, which lint does not know, and patches the entry with it."""
    project = PROJECT.replace('members: ["*"]', 'members: ["group:ops@example.com"]')
    ((_, _, message),) = found(tmp_path, project + binding("roles/run.viewer", AGENT))
    command = message[message.index("kubectl patch ") :].partition(". The numbers of projects")[0]
    programs = {"gcloud": 'test "$3" = acme-shop && echo 417203958816', "kubectl": 'echo "$6"'}
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    pasted = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    (operation,) = json.loads(pasted.stdout)
    assert operation["value"]["members"] == [
        "serviceAccount:service-417203958816@gcp-sa-pubsub.iam.gserviceaccount.com"
    ]


def test_refusal_of_an_agent_and_of_another_member_is_an_error(tmp_path: Path) -> None:
    members = f"{AGENT}}}, {{principal: 'group:ops@example.com'"
    ((level, rule, _),) = found(tmp_path, PROJECT + binding("roles/run.admin", members))
    assert (level, rule) == ("error", "DeniedByGuardrail")


def test_command_beside_another_error_prints_the_number_of_the_project(tmp_path: Path) -> None:
    ambiguous = AGENT.replace("pubsub", "cloudbuild")
    project = PROJECT.replace('members: ["*"]', 'members: ["group:ops@example.com"]')
    text = project + binding("roles/run.viewer", f"{ambiguous}}}, {{{AGENT}")
    ((_, rule, message),) = found(tmp_path, text)
    assert rule == "InvalidSpec"
    command = message[message.index("kubectl patch ") :].partition(". The numbers of projects")[0]
    assert "number-of-" not in command
