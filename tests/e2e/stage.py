"""Servers and processes that tests share (`Stage`): an API server, an emulator, and the operator."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from cloudrun_identity.gcp.permissions import ABOVE_PROJECTS, FEATURES
from tests.e2e.cloud import Cloud
from tests.e2e.cluster import Cluster
from tests.e2e.commands import run_cli
from tests.e2e.processes import LEASE_DURATION, Emulator, Operator, emulator
from tests.servers.chart import grant_chart_roles
from tests.servers.kube_apis import KubeApi, install_crds, started

OPERATOR_NAMESPACE = "cloudrun-identity"
OPERATOR = "operator@acme-ops.iam.gserviceaccount.com"
"""Account with which the operator calls Google Cloud."""

ORGANIZATION = "organizations/334455667788"
FOLDER = "folders/556677889900"
ROLE = f"{ORGANIZATION}/roles/cloudrunIdentity"
"""Role of the operator's account in the organization."""

_SHOWN_OPERATORS = 2
"""The operators in the report of a failed test, the last ones that were started."""


class Stage:
    """One cluster, one emulated cloud, and usually one operator. Tests may stop and start the operator."""

    def __init__(self, kube_api: KubeApi, google: Emulator, run_dir: Path) -> None:
        self.kube_api = kube_api
        self.google = google
        self.cluster = Cluster(kube_api.kubeconfig)
        self.cloud = Cloud(google.rest_url)
        self._run_dir = run_dir
        self._token = run_dir / "token"
        self._token.write_text(f"serviceAccount:{OPERATOR}")
        self._numbers = itertools.count(1)
        self._operators: list[Operator] = []
        self._key_clock = run_dir / "key-clock"
        self._grant_clock = run_dir / "grant-clock"
        self.set_key_clock(timedelta())
        self.set_grant_clock(timedelta())

    @property
    def operator(self) -> Operator:
        """Operator that was started last and still runs."""
        return [each for each in self._operators if each.is_running][-1]

    @property
    def is_operated(self) -> bool:
        """True if any operator runs."""
        return any(each.is_running for each in self._operators)

    def start_operator(
        self,
        *,
        die_at: str = "",
        afresh: bool = False,
        pod: str = "",
        namespace: str = OPERATOR_NAMESPACE,
        lease_duration: str = LEASE_DURATION,
    ) -> Operator:
        """Start another replica, which kills itself at the checkpoint `die_at`. It may become a standby.

        With `afresh`, it is started as a user would start it, which loads all modules again. With `pod`, it
        is a restarted container of the pod with this UID. With another `namespace`, it is a second operator,
        which has all permissions in the cluster.
        """
        is_second = namespace != OPERATOR_NAMESPACE
        log = self._run_dir / f"operator-{next(self._numbers)}.log"
        operator = Operator(
            self.kube_api.kubeconfig if is_second else self.kube_api.operator_kubeconfig,
            self.google.endpoint,
            self._token,
            namespace,
            log,
            key_clock=self._key_clock,
            grant_clock=self._grant_clock,
            die_at=die_at,
            afresh=afresh,
            pod=pod,
            lease_duration=lease_duration,
        )
        self._operators.append(operator)
        return operator

    def access(self) -> list[str]:
        """Return the options of a command that uses the access and the account of the operator."""
        return [
            f"--kubeconfig={self.kube_api.operator_kubeconfig}",
            f"--google-endpoint={self.google.endpoint}",
            f"--google-token-file={self._token}",
            f"--operator-namespace={OPERATOR_NAMESPACE}",
        ]

    def set_key_clock(self, ahead: timedelta) -> None:
        """Set the clock of key rotation ahead by this time."""
        _set_clock(self._key_clock, ahead)

    def set_grant_clock(self, ahead: timedelta) -> None:
        """Set the clock that ends temporary grants ahead by this time."""
        _set_clock(self._grant_clock, ahead)

    def ensure_operator(self) -> None:
        """Ensure that exactly one operator runs, whatever state the previous test left."""
        running = [each for each in self._operators if each.is_running]
        for surplus in running[1:]:
            surplus.stop()
        if not running:
            self.cluster.end_lease(OPERATOR_NAMESPACE)  # of a killed operator
            self.start_operator().wait_until_leading()

    def ensure_namespace(self, name: str) -> None:
        """Ensure that the namespace exists."""
        if not self.cluster.has_namespace(name):
            self.cluster.create_namespace(name)

    def run_cli(self, *arguments: str) -> str:
        """Run a command with the servers of the stage; return what it printed."""
        return run_cli(
            *arguments,
            f"--kubeconfig={self.kube_api.kubeconfig}",
            f"--google-endpoint={self.google.endpoint}",
            f"--google-token-file={self._token}",
        )

    def logs(self) -> Iterator[dict[str, object]]:
        """Yield every line that any operator has logged so far."""
        for operator in self._operators:
            yield from operator.log()

    def operators_text(self) -> str:
        """Return whether each operator runs, with the last lines of its log."""
        return "\n".join(each.text() for each in self._operators[-_SHOWN_OPERATORS:])

    def close(self) -> None:
        for operator in self._operators:
            operator.stop()
        self.cluster.close()


def _set_clock(file: Path, ahead: timedelta) -> None:
    written = file.with_suffix(".new")
    written.write_text(str(ahead.total_seconds()))
    written.replace(file)


@contextmanager
def set_stage(
    server: str,
    run_dir: Path,
    seed: Mapping[str, Any],
    *,
    definitions: Iterable[dict[str, Any]] | None = None,
) -> Iterator[Stage]:
    """Provide a stage on the API server of this name, without an operator.

    `definitions` are the CRDs to install, by default those of the operator.

    The operator calls the cloud as `OPERATOR`, with the permissions that `seed` grants. On a real API server,
    which has RBAC, it has the permissions that the chart grants.
    """
    file = run_dir / "seed.yaml"
    file.write_text(yaml.safe_dump(seed))
    with (
        started(server, run_dir / "kube") as kube_api,
        emulator(run_dir, f"--seed={file}") as google,
        prepared(kube_api, google, run_dir, definitions=definitions) as stage,
    ):
        yield stage


@contextmanager
def prepared(
    kube_api: KubeApi,
    google: Emulator,
    run_dir: Path,
    *,
    definitions: Iterable[dict[str, Any]] | None = None,
) -> Iterator[Stage]:
    """Provide a stage on running servers, with the CRDs and, with RBAC, the roles of the chart."""
    install_crds(kube_api, definitions)
    if kube_api.has_rbac:
        grant_chart_roles(kube_api.kubeconfig, OPERATOR_NAMESPACE)
    stage = Stage(kube_api, google, run_dir)
    try:
        yield stage
    finally:
        stage.close()


def with_operator(seed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the seed in an organization where the operator has exactly the permissions of its features.

    Projects that tests name are created in it.
    """
    features = {**FEATURES, **ABOVE_PROJECTS}
    permissions = {permission for each in features.values() for permission in each}
    permissions.add("pubsub.subscriptions.consume")  # of change feeds
    permissions |= {f"cloudfunctions.functions.{verb}IamPolicy" for verb in ("get", "set")}
    organization = {
        "organizationID": ORGANIZATION.partition("/")[2],
        "roles": [{"roleID": "cloudrunIdentity", "permissions": sorted(permissions)}],
        "policy": [{"role": ROLE, "members": [f"serviceAccount:{OPERATOR}"]}],
    }
    own = {"projectID": "acme-ops", "serviceAccounts": [{"accountID": "operator"}]}
    return {
        **seed,
        "defaultParent": ORGANIZATION,
        "organizations": [organization],
        "folders": [{"folderID": FOLDER.partition("/")[2], "parent": ORGANIZATION}],
        "projects": [{"parent": ORGANIZATION, **project} for project in [own, *seed["projects"]]],
    }
