"""Converts the files of other tools to manifests, with the steps of the hand-over (`convert`)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloudrun_identity.exporting.export import Export, export
from cloudrun_identity.exporting.names import object_name
from cloudrun_identity.exporting.namespaces import Namespaces, Placement
from cloudrun_identity.exporting.selection import LeftOut, select
from cloudrun_identity.exporting.survey import DeclaredKey, Survey
from cloudrun_identity.exporting.writer import MAX_LIST
from cloudrun_identity.gcp.custom_roles import CustomRoleState
from cloudrun_identity.gcp.service_accounts import ServiceAccount, project_id_of_email
from cloudrun_identity.gcp.workloads import WorkloadState
from cloudrun_identity.iam.admission import DeclaredIdentity
from cloudrun_identity.iam.grants import Grant
from cloudrun_identity.iam.principals import email, lower_email
from cloudrun_identity.iam.role_catalog import role_catalog

from .config_connector import is_connector_object, read_objects
from .declarations import Declarations, Declared, Source
from .handover import Handover
from .terraform import is_raw_state, is_state, read_state


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion."""

    files: Mapping[str, str]
    """Text of each file of manifests by its name."""
    left_out: tuple[LeftOut, ...]
    """Resources, or parts of them, that the manifests do not declare."""
    notes: tuple[LeftOut, ...]
    """Differences between a resource and the objects that replace it."""
    handover: Handover
    """Steps after the manifests are applied."""

    @property
    def text(self) -> str:
        """Return all files as one stream of documents."""
        return "---\n".join(self.files.values())


def declarations_in(documents: Iterable[Any], project_id: str) -> Declarations:
    """Read documents of Config Connector and of Terraform. Other documents are ignored.

    `project_id` is the project of resources that name none.

    Raises:
        ValueError: a document has a form that cannot be read. The message is one line.

    """
    found = Declarations()
    documents = list(documents)
    for document in documents:
        if is_raw_state(document):
            raise ValueError("a state file; print its documented form with: terraform show -json")
        if is_state(document):
            read_state(document, project_id, found)
    connector = [each for each in documents if is_connector_object(each) or _is_namespace(each)]
    read_objects(connector, project_id, found)
    return found


def convert(declarations: Declarations, namespaces: Namespaces | None = None) -> Converted:
    """Declare what the files declare as objects in namespaces.

    Without a mapping to namespaces, and without a default in it, the default is named like the project.

    Raises:
        ValueError: objects of two projects have the same name in one namespace. The message is one line.

    """
    surveys = _surveys(declarations)
    mapping = namespaces or Namespaces("")
    placed = {each.project_id: _placed(each, mapping) for each in surveys}
    homes = {lower_email(account.email): each for each in surveys for account in select(each).accounts}
    uses = tuple(_uses(surveys, placed, homes))
    referring = _referring(surveys, placed, uses)
    identities = {
        account: DeclaredIdentity(placed[home.project_id].of_account(account), account.partition("@")[0])
        for account, home in homes.items()
    }
    allowed = {
        account: {
            identity.namespace,
            *sorted(referring.get(account, frozenset()) - {identity.namespace})[:MAX_LIST],
        }
        for account, identity in identities.items()
    }
    exports = {
        each.project_id: export(
            replace(
                each,
                referring=referring,
                identities=identities,
                attaching=frozenset(
                    use.namespace
                    for use in uses
                    if use.home == each.project_id and use.namespace in allowed[use.account]
                ),
            ),
            _of_project(each, mapping),
        )
        for each in surveys
    }
    _check_names(exports)
    prefix = {project_id: f"{object_name(project_id)}-" if len(exports) > 1 else "" for project_id in exports}
    left_out = tuple(each for result in exports.values() for each in result.left_out)
    reasons = {
        source: str(why)
        for declared, sources in declarations.found.items()
        for why in exports[_project_of(declared)].left_out
        if why.what == _label(declared)
        for source in sources
    }
    return Converted(
        {
            f"{prefix[name]}{file}": text
            for name, result in exports.items()
            for file, text in result.files.items()
        },
        (*declarations.left_out, *left_out),
        tuple(declarations.notes),
        Handover(
            _sources(declarations),
            {**dict.fromkeys(declarations.incomplete, ""), **reasons},
            tuple(sorted({name for each in exports.values() for name in each.namespaces})),
        ),
    )


def _placed(survey: Survey, namespaces: Namespaces) -> Placement:
    return Placement(survey, _of_project(survey, namespaces), survey.accounts)


def _of_project(survey: Survey, namespaces: Namespaces) -> Namespaces:
    """Return the mapping; without a default, names belong to a namespace with the name of the project."""
    return replace(namespaces, default=namespaces.default or object_name(survey.project_id))


def _surveys(declarations: Declarations) -> list[Survey]:
    by_project: defaultdict[str, list[Declared]] = defaultdict(list)
    for declared in declarations.found:
        by_project[_project_of(declared)].append(declared)
    roles = {each.name: each.permissions for each in declarations.found if isinstance(each, CustomRoleState)}
    return [_survey(project_id, found, roles) for project_id, found in sorted(by_project.items())]


def _survey(project_id: str, found: list[Declared], roles: Mapping[str, frozenset[str]]) -> Survey:
    workloads = [each for each in found if isinstance(each, WorkloadState)]
    grants = [each for each in found if isinstance(each, Grant)]
    return Survey(
        project_id,
        tuple(sorted({each.workload.location for each in workloads})),
        tuple(
            sorted((each for each in found if isinstance(each, ServiceAccount)), key=lambda each: each.email)
        ),
        tuple(
            sorted((each for each in found if isinstance(each, CustomRoleState)), key=lambda each: each.name)
        ),
        tuple(sorted(workloads, key=lambda each: each.workload)),
        tuple(sorted(grants, key=str)),
        tuple(each for each in found if isinstance(each, DeclaredKey)),
        {grant.role: _permissions(grant.role, roles) for grant in grants},
    )


@dataclass(frozen=True, slots=True)
class _Use:
    """A workload of one project that runs as an account of another one."""

    account: str
    """E-mail of the account, in lower case."""
    home: str
    """Project of the account."""
    namespace: str
    """Namespace of the attachment."""


def _uses(
    surveys: Iterable[Survey], placed: Mapping[str, Placement], homes: Mapping[str, Survey]
) -> Iterator[_Use]:
    """Yield the uses of accounts by workloads of another converted project."""
    for survey in surveys:
        for state in survey.workloads:
            account = lower_email(state.service_account)
            home = homes.get(account)
            if home and home is not survey and not state.managed_by:
                namespace = placed[survey.project_id].of_target(state.workload.target)
                yield _Use(account, home.project_id, namespace)


def _referring(
    surveys: Iterable[Survey], placed: Mapping[str, Placement], uses: Iterable[_Use]
) -> Mapping[str, frozenset[str]]:
    """Return the namespaces with objects that refer to an account, by its lower-case e-mail."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for use in uses:
        found[use.account].add(use.namespace)
    for survey in surveys:
        for grant in survey.grants:
            found[lower_email(email(grant.member))].add(placed[survey.project_id].of_grant(grant))
    return {account: frozenset(names) for account, names in found.items()}


def _permissions(role: str, declared: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
    """Return the permissions of a role; None if they are not known without Google Cloud."""
    if role in declared:
        return declared[role]
    predefined = role_catalog().get(role)
    return frozenset(predefined.permissions) if predefined else None


def _project_of(declared: Declared) -> str:
    match declared:
        case ServiceAccount():
            return declared.project_id
        case CustomRoleState():
            return declared.name.split("/")[1]
        case WorkloadState():
            return declared.workload.project_id
        case Grant():
            return declared.target.project_id
        case DeclaredKey():
            return project_id_of_email(declared.account)


def _label(declared: Declared) -> str:
    """Return the name that an export uses for a resource that it leaves out."""
    match declared:
        case ServiceAccount():
            return f"ServiceAccount {declared.email}"
        case CustomRoleState():
            return f"CustomRole {declared.name}"
        case WorkloadState():
            return str(declared.workload)
        case Grant():
            return str(declared)
        case DeclaredKey():
            return f"IdentityKey {declared.name}"


def _sources(declarations: Declarations) -> tuple[Source, ...]:
    found = (source for sources in declarations.found.values() for source in sources)
    return tuple(dict.fromkeys((*found, *declarations.incomplete)))


def _check_names(exports: Mapping[str, Export]) -> None:
    seen: dict[tuple[str, str, str], str] = {}
    for project_id, result in exports.items():
        for key in result.objects:
            other = seen.setdefault(key, project_id)
            if other != project_id:
                raise ValueError(
                    f"the projects {other} and {project_id} both have {key[0]} {key[2]} in namespace "
                    f"{key[1]}: omit --namespace, so that each project has a namespace, or convert one at a "
                    "time"
                )


def _is_namespace(document: object) -> bool:
    return isinstance(document, dict) and (document.get("apiVersion"), document.get("kind")) == (
        "v1",
        "Namespace",
    )
