"""Names of targets as other tools write them (`target_named`)."""

import re
from functools import cache

from cloudrun_identity.api import TARGET_KINDS, NamedBy, TargetKind
from cloudrun_identity.gcp.service_accounts import project_id_of_email
from cloudrun_identity.iam.grants import Target


def target_named(
    kind: TargetKind, text: str, project_id: str = "", location: str = "", parent: str = ""
) -> Target:
    """Return the target of a kind with a name, in any of the forms that Google's tools accept.

    A relative resource name has everything in it. `project_id`, `location` and `parent` complete a short
    name, such as `checkout`, `europe-west1/tokens` or `b/exports`.

    Raises:
        ValueError: a part of the name is missing. The message is one line.

    """
    if match := _relative_name(kind).search(text):
        named = match.groupdict()
        return _target(kind, {**named, "project_id": named.get("project_id", project_id)})
    if kind is TargetKind.PROJECT:
        return Target.project(text)
    if kind is TargetKind.SERVICE_ACCOUNT:
        project_id = project_id_of_email(text) or project_id
    segments = text.removeprefix("b/").split("/")
    known = {"name": segments.pop(), "parent": parent, "location": location, "project_id": project_id}
    missing = [field for field in ("parent", "location", "project_id") if field in _fields(kind)]
    for field in missing if segments else ():
        known[field] = segments.pop() if segments else known[field]
    if segments:
        raise ValueError(f"{text!r} is not the name of a {TARGET_KINDS[kind].display_name}")
    return _target(kind, known)


def _target(kind: TargetKind, fields: dict[str, str]) -> Target:
    descriptor = TARGET_KINDS[kind]
    project_id, name = fields["project_id"], fields.get("name", "")
    if descriptor.named_by is NamedBy.PROJECT:
        return Target.project(project_id)
    for field in _fields(kind) | {"project_id"}:
        if not fields.get(field):
            wanted, remedy = ("project", "; use --project") if field == "project_id" else (field, "")
            raise ValueError(f"the {wanted} of the {descriptor.display_name} is unknown{remedy}")
    return Target(
        kind,
        project_id,
        fields["location"] if descriptor.has_location else "",
        name,
        fields["parent"] if descriptor.parent else "",
    )


@cache
def _fields(kind: TargetKind) -> frozenset[str]:
    """Return the names of the variable parts of a relative resource name."""
    return frozenset(re.findall(r"{(\w+)}", TARGET_KINDS[kind].resource_pattern))


@cache
def _relative_name(kind: TargetKind) -> re.Pattern[str]:
    """Return the expression of a relative resource name, at the end of a full one or of a URL."""
    pattern = re.escape(TARGET_KINDS[kind].resource_pattern).replace(r"\{", "{").replace(r"\}", "}")
    return re.compile(r"(?:^|/)" + re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", pattern) + "$")
