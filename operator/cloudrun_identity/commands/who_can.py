"""`cloudrun-identity who-can`: show who can act as an account, invoke a workload, or has a permission."""

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .access_options import (
    CLUSTER,
    LOCATIONS,
    PROJECT,
    account_of,
    cluster_facts,
    principal_in,
    print_report,
    project_of,
)
from .formats import examples, output_option
from .google import google_clients, google_options, one_line_errors
from .options import CONTEXT, KUBECONFIG, NO_COLOR
from .progress import Progress

if TYPE_CHECKING:
    from cloudrun_identity.iam.grants import Target
    from cloudrun_identity.iam.listed_keys import ListedKey

    from .access_cluster import ClusterFacts
    from .access_output import Report
    from .access_survey import AccessSurvey

ACT_AS, INVOKE = "act-as", "invoke"
EXIT_CODES: Final = {"yes": 0, "no": 3, "depends": 4}
"""Exit codes with `--principal`, by result."""


@click.command(
    "who-can",
    short_help="Show who can act as an account or invoke a workload.",
    epilog=examples(
        "cloudrun-identity who-can act-as checkout@payments-prod-1234.iam.gserviceaccount.com",
        "cloudrun-identity who-can act-as payments/checkout --context prod",
        "cloudrun-identity who-can invoke Service/europe-west1/checkout --project payments-prod-1234",
        "# Whether one principal can, and why",
        "cloudrun-identity who-can act-as payments/checkout --cluster --principal user:ann@example.com",
        "# Any permission on any resource of a target kind",
        "cloudrun-identity who-can secretmanager.versions.access Secret/stripe-key "
        "--project payments-prod-1234",
    ),
)
@click.argument("verb", metavar="act-as|invoke|PERMISSION")
@click.argument("resource", metavar="RESOURCE")
@click.option("--principal", metavar="MEMBER", default="", help="Answer for this principal only.")
@PROJECT
@LOCATIONS
@KUBECONFIG
@CONTEXT
@CLUSTER
@output_option()
@NO_COLOR
@google_options
def who_can(
    verb: str,
    resource: str,
    principal: str,
    project: str,
    locations: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    cluster: bool,
    output: str,
    no_color: bool,
    google_endpoint: str | None,
    google_token_file: Path | None,
) -> None:
    """Show who can act as an account, invoke a workload, or has a permission, and why.

    The RESOURCE of act-as is the e-mail of an account, or NAMESPACE/NAME of a CloudRunIdentity. That of
    invoke is Service/LOCATION/NAME or Job/LOCATION/NAME. Any other permission takes Project,
    ServiceAccount/EMAIL, or another target kind, such as Secret/NAME. The command reads the allow policies of
    the resource, its project, folders and organization, the deny policies and the principal access
    boundaries. With a cluster, it distinguishes managed grants from unmanaged ones.

    An answer is yes, no, or depends: on the membership in a group, a condition, a deny policy, a boundary, or
    a policy that could not be read.

    Exit codes: 0 for an answer, 1 for an error, 2 for a wrong option. With --principal, 0 is yes, 3 is no and
    4 is depends.
    """
    if verb not in (ACT_AS, INVOKE) and not _PERMISSION.fullmatch(verb):
        raise click.UsageError(f"{verb!r} is neither act-as, invoke nor a permission such as run.jobs.run")
    principal = principal_in(principal) if principal else ""
    found = cluster_facts(kubeconfig, context, cluster=cluster)
    if verb == ACT_AS:
        email = account_of(resource, found)
        target = _account(email, project_of(email, project))
    else:
        target = _target(resource, project)
    if verb == INVOKE:
        _check_invocable(target)
    places = locations or (found.locations.get(target.project_id, ()) if found else ())
    with one_line_errors():
        report = asyncio.run(
            _report(verb, target, principal, places, found, google_endpoint, google_token_file)
        )
    print_report(report, output, no_color=no_color)
    if principal:
        from cloudrun_identity.iam.access_questions import result_of

        sys.exit(EXIT_CODES[result_of(report.answers)])


async def _report(
    verb: str,
    target: "Target",
    principal: str,
    locations: tuple[str, ...],
    cluster: "ClusterFacts | None",
    endpoint: str | None,
    token_file: Path | None,
) -> "Report":
    from .access_survey import AccessSurvey

    progress = Progress()
    async with google_clients(endpoint, token_file) as clients, progress.printed():
        survey = AccessSurvey(clients, target.project_id, locations, progress.show)
        return await _answered(verb, target, principal, survey, cluster)


async def _answered(
    verb: str, target: "Target", principal: str, survey: "AccessSurvey", cluster: "ClusterFacts | None"
) -> "Report":
    from cloudrun_identity.iam import access_questions

    from .access_output import Report

    notes: list[str] = []
    keys: tuple[ListedKey, ...] = ()
    workloads: tuple[str, ...] = ()
    managed = cluster.managed(target.project_id) if cluster else None
    invalid = cluster.invalid if cluster else ()
    match verb:
        case "act-as":
            account = await survey.account(target.name)
            identity = cluster.identity_of(target.name) if cluster else ""
            notes += [f"the account of CloudRunIdentity {identity}"] if identity else []
            notes += ["disabled: it cannot authenticate"] if account.disabled else []
            keys = account.keys
            workloads = tuple(str(each.target) for each in account.facts.workloads)
            answers = access_questions.who_acts_as(account.facts, principal)
        case "invoke":
            workload = await survey.workload(target)
            notes += ["public: it does not check who invokes it"] if workload.public else []
            answers = access_questions.who_invokes(workload, principal)
        case _:
            facts = await survey.resource(target)
            ability = access_questions.permission_ability(verb)
            answers = access_questions.who_has(str(target), facts, ability, principal)
    return Report(
        str(target),
        "" if target.is_project else target.project_id,
        answers,
        tuple(notes),
        managed,
        keys,
        workloads,
        unknown=(*survey.unknown, *invalid),
    )


def _account(email: str, project: str) -> "Target":
    from cloudrun_identity.iam.grants import Target

    return Target.service_account(project, email)


def _target(text: str, project: str) -> "Target":
    """Return the resource that an argument such as `Service/europe-west1/web` names."""
    from cloudrun_identity.api import TargetKind, WorkloadKind
    from cloudrun_identity.iam.grants import Target
    from cloudrun_identity.iam.resource_names import parse_target

    match text.split("/"):
        case ["Project"] if project:
            return Target.project(project)
        case ["Project", name] if name:
            return Target.project(name)
        case ["ServiceAccount", email] if email:
            return _account(email, project_of(email, project))
        case ["Project" | "ServiceAccount", *_]:
            raise click.UsageError("use Project/ID, Project with --project, or ServiceAccount/EMAIL")
    if not project:
        raise click.UsageError(f"name the project of {text} with --project")
    kind, *parts = text.split("/")
    if kind in {each.value for each in WorkloadKind}:
        if len(parts) != len(("LOCATION", "NAME")) or not all(parts):
            raise click.UsageError(f"{text!r} must be {kind}/LOCATION/NAME")
        return Target(TargetKind(kind), project, *parts)
    try:
        return parse_target(text, project)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _check_invocable(target: "Target") -> None:
    from cloudrun_identity.iam.access_questions import INVOKE as INVOCABLE

    if target.kind not in INVOCABLE:
        names = ", ".join(INVOCABLE)
        raise click.UsageError(f"a {target.kind} cannot be invoked; the kinds that can are {names}")


_PERMISSION = re.compile(r"[A-Za-z][\w-]*(\.[\w-]+)+(/[\w-]+(\.[\w-]+)+)?")
