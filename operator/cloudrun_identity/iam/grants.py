"""What is granted where: the values that every part of the engine speaks in."""

from dataclasses import dataclass, replace

from cloudrun_identity.api import TargetKind, target_text

from .principals import Tombstone, normalise

_COLLECTIONS = {
    TargetKind.SERVICE: "services",
    TargetKind.JOB: "jobs",
    TargetKind.WORKER_POOL: "workerPools",
}


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One resource that carries an IAM policy.

    `name` is the e-mail of a service account, the short name of a workload or secret, and empty for a
    project; `location` is set for Cloud Run workloads alone.
    """

    kind: TargetKind
    project_id: str
    location: str = ""
    name: str = ""

    @property
    def resource(self) -> str:
        """The relative resource name, as google.iam.v1 requests want it."""
        match self.kind:
            case TargetKind.PROJECT:
                return f"projects/{self.project_id}"
            case TargetKind.SERVICE_ACCOUNT:
                return f"projects/{self.project_id}/serviceAccounts/{self.name}"
            case TargetKind.SECRET:
                return f"projects/{self.project_id}/secrets/{self.name}"
            case _:
                return (
                    f"projects/{self.project_id}/locations/{self.location}/"
                    f"{_COLLECTIONS[self.kind]}/{self.name}"
                )

    @property
    def full_name(self) -> str:
        """The full resource name (`//SERVICE/RELATIVE`), unique over all of Google Cloud."""
        return f"//{_SERVICE_OF[self.kind]}/{self.resource}"

    def __str__(self) -> str:
        """The short form that statuses show: `Service europe-west1/checkout`, `Project payments-prod`."""
        return target_text(self.kind, project_id=self.project_id, location=self.location, name=self.name)


_SERVICE_OF = {
    TargetKind.PROJECT: "cloudresourcemanager.googleapis.com",
    TargetKind.SERVICE_ACCOUNT: "iam.googleapis.com",
    TargetKind.SECRET: "secretmanager.googleapis.com",
    TargetKind.SERVICE: "run.googleapis.com",
    TargetKind.JOB: "run.googleapis.com",
    TargetKind.WORKER_POOL: "run.googleapis.com",
}


@dataclass(frozen=True, slots=True, order=True)
class IAMCondition:
    """An IAM condition; two bindings of one role with different conditions are different bindings."""

    title: str
    description: str = ""
    expression: str = ""


@dataclass(frozen=True, slots=True)
class BindingKey:
    """One binding of a policy: all who hold one role on one target under one condition."""

    target: Target
    role: str
    condition: IAMCondition | None = None

    def __str__(self) -> str:
        """One line for people: `roles/run.invoker on Service europe-west1/web`."""
        when = f" if {self.condition.title}" if self.condition else ""
        return f"{self.role} on {self.target}{when}"


@dataclass(frozen=True, slots=True)
class Grant:
    """One member holding one role on one target, under a condition or none."""

    target: Target
    role: str
    member: str
    condition: IAMCondition | None = None

    @property
    def binding_key(self) -> "BindingKey":
        """The binding that it is a member of."""
        return BindingKey(self.target, self.role, self.condition)

    def deleted_form(self, unique_id: str) -> "Grant":
        """What policies show in its place once its member, the account of this id, is deleted."""
        return replace(self, member=normalise(str(Tombstone(self.member, unique_id))))

    def __str__(self) -> str:
        """One line for people: `roles/run.invoker for user:a@example.com on Service europe-west1/web`."""
        when = f" if {self.condition.title}" if self.condition else ""
        return f"{self.role} for {self.member} on {self.target}{when}"


def order(grant: Grant) -> tuple[str, str, str]:
    """A steady order of writing, so that equal declarations give equal policies."""
    return grant.role, grant.condition.title if grant.condition else "", grant.member
