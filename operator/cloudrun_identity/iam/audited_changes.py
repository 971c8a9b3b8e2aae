"""Changes in Google Cloud as its audit log reports them: what was changed, by whom, when and how."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from .grants import Grant, Target
from .principals import lower_email


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A write of the IAM policy of a resource."""

    target: Target
    """Resource. A folder or an organization has no project; an account may be named by its unique id."""

    @property
    def project_id(self) -> str:
        """Project of the resource; empty for a folder or an organization."""
        return self.target.project_id


@dataclass(frozen=True, slots=True)
class AccountChange:
    """A create, update, disable, enable, delete or undelete of a service account, or of one of its keys."""

    project_id: str
    """Project of the account."""
    email: str
    """E-mail of the account; empty if the entry names only its unique id."""
    unique_id: str = ""
    """Unique id of the account; empty if it is not known."""
    of_keys: bool = False
    """True if a key was changed, and not the account itself."""


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A create, update, delete or undelete of a custom role."""

    project_id: str
    """Project of the role; empty for a role of an organization."""
    role: str
    """Full name of the role."""


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """A create, update or delete of a Cloud Run workload."""

    target: Target
    """The workload."""

    @property
    def project_id(self) -> str:
        """Project of the workload."""
        return self.target.project_id


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """A delete or undelete of a project, or a change of its organization policies."""

    project_id: str
    """The project."""


Subject: TypeAlias = PolicyChange | AccountChange | RoleChange | WorkloadChange | ProjectChange
"""Subject of a change. Changes of equal subjects need one sync."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The call that changed a resource."""

    method: str
    """Method of the API, as the audit log names it."""
    time: datetime
    """Time of the call."""
    principal: str = ""
    """Caller as a member, such as `user:dana@example.com`; empty if it is not reported."""
    user_agent: str = ""
    """User agent that the caller sent; empty if it is not reported."""
    is_assumed: bool = False
    """True if the entry does not show what the call changed."""

    def anonymous(self) -> "Cause":
        """Return the cause without personal data."""
        return replace(self, principal="", user_agent="")

    def described(self, participle: str) -> str:
        """Return the cause as a clause: `removed by user:dana@example.com (gcloud) at 2026-11-03T…`."""
        client = client_name(self.user_agent)
        by = f" by {self.principal}" if self.principal else ""
        through = f" ({client})" if client and by else ""
        return f"{participle}{by}{through} at {self.time:%Y-%m-%dT%H:%M:%SZ}"


class DeltaAction(StrEnum):
    """Effect of a policy write on one member of a role."""

    ADD = "ADD"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True)
class BindingDelta:
    """One difference that a policy write made (google.iam.v1.BindingDelta)."""

    action: DeltaAction
    """Added or removed."""
    role: str
    """Full name of the role."""
    member: str
    """Member as the policy writes it."""
    condition: str = ""
    """Title of the IAM condition; empty without one."""

    def concerns(self, grant: Grant) -> bool:
        """Return whether the difference is about this grant."""
        title = grant.condition.title if grant.condition else ""
        known = (self.role, lower_email(self.member), self.condition)
        return known == (grant.role, lower_email(grant.member), title)


@dataclass(frozen=True, slots=True)
class AuditedChange:
    """A change that an entry of the audit log reports."""

    subject: Subject
    """Subject of the change."""
    cause: Cause
    """The call that changed it."""
    caller: str
    """E-mail of the caller, in lower case; empty if the entry has none. It only decides whose write it is."""
    request_reason: str = ""
    """Value of the header X-Goog-Request-Reason of the call; empty without one."""
    deltas: tuple[BindingDelta, ...] = ()
    """Differences that a policy write made; empty if the entry does not show them."""


def client_name(user_agent: str) -> str:
    """Return the program in a user agent: gcloud, Terraform, a browser, or its first product.

    gcloud sends `google-cloud-sdk gcloud/501.0.0 command/…`, and browsers start with `Mozilla/`.
    """
    for pattern, name in _CLIENTS:
        if pattern.search(user_agent):
            return name
    product = re.match(r"[\w.-]{1,64}", user_agent)
    return product[0] if product else ""


_CLIENTS: Final = (
    (re.compile(r"\bgcloud/"), "gcloud"),
    (re.compile(r"\bterraform", re.IGNORECASE), "Terraform"),
    (re.compile(r"\bgsutil/"), "gsutil"),
    (re.compile(r"^Mozilla/"), "browser"),
)
