"""State of all emulated APIs, and the handlers that serve them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from .access.authorizer import Authorizer
from .access.callers import Callers
from .access.deployments import Deployments
from .access.directory import Directory
from .access.effective import EffectivePermissions
from .access.resources import Hierarchy
from .apis.access_limits import AccessBoundaries, DenyPolicies
from .apis.accounts import AccountStore
from .apis.activities import Activities
from .apis.assertions import Assertions
from .apis.credentials import IAMCredentials, IdTokens
from .apis.custom_constraints import CustomConstraints
from .apis.executions import Executions, JobRuns
from .apis.folders import Folders, Organizations
from .apis.key_uses import KeyUses
from .apis.keys import Keys
from .apis.operations import Operations
from .apis.org_policy import OrgPolicies
from .apis.policies import Policies
from .apis.policy_methods import PolicyMethods
from .apis.policy_rules import ResourceKind
from .apis.projects import ProjectRegistry, Projects
from .apis.revisions import Revisions
from .apis.role_table import RoleTable
from .apis.roles import Roles
from .apis.rpc import Handler, handlers_of
from .apis.run_kinds import JOB, KINDS
from .apis.service_accounts import ServiceAccounts, policy_name
from .apis.sharing import DomainRestrictedSharing
from .apis.stamps import Stamps
from .apis.target_resources import TargetResources
from .apis.time_series import TimeSeries
from .apis.workloads import Workloads
from .apis.workspace import Workspace
from .audit_log.entries import Json
from .audit_log.log import AuditLog
from .audit_log.subjects import Subjects
from .calls import only_reads
from .lag import Lag
from .log_router.reader import LogReader
from .log_router.router import LogRouter
from .log_router.sinks import Sinks
from .pubsub.publisher import Publisher
from .pubsub.store import PubSub
from .pubsub.subscriber import Subscriber
from .sender import Sender
from .switches import Switches


class Cloud:
    """The whole state. Handlers never await, so each call is atomic.

    `clock` returns seconds since the epoch. With `strict`, only seeded projects exist. Otherwise a project is
    created in `default_parent` when a call that writes first names it.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        strict: bool = False,
        default_parent: str = "",
        switches: Switches | None = None,
    ) -> None:
        self.clock = clock
        self.switches = switches = switches or Switches()
        self.lag = Lag(clock, switches)
        self.registry = ProjectRegistry(strict=strict, default_parent=default_parent, clock=clock)
        self.accounts = AccountStore(self.registry, self.lag, clock)
        self.role_table = RoleTable(self.registry.above)
        self.org_policies = OrgPolicies(self.registry, clock)
        self.workspace = Workspace()
        self.policies = Policies(
            self.accounts,
            self.workspace,
            self.role_table,
            DomainRestrictedSharing(self.registry, self.org_policies),
            self.lag,
            clock,
            switches,
        )
        self.assertions = Assertions(self.accounts, clock)
        self.callers = Callers(self.accounts, self.assertions, switches, clock)
        self.id_tokens = IdTokens(clock)
        self.keys = Keys(self.accounts, self.org_policies, clock)
        self.key_uses = KeyUses(self.accounts, switches, clock)
        self.directory = Directory()
        self.deny_policies = DenyPolicies(self.registry)
        self.boundaries = AccessBoundaries(self.registry)
        self.resources = TargetResources(self.registry, self.policies, clock)
        hierarchy = Hierarchy(self.registry, self.accounts, self.resources)
        permissions = EffectivePermissions(
            self.policies, self.role_table, self.directory, self.workspace, self.deny_policies, clock
        )
        self.authorizer = Authorizer(hierarchy, permissions, self.policies, self.accounts)
        self.deployments = Deployments(
            self.registry, self.accounts, self.org_policies, hierarchy, permissions
        )
        self.operations = Operations(clock, switches)
        self.audit_log = AuditLog(
            Subjects(self.registry, self.accounts, self.resources),
            self.policies,
            self.accounts,
            self.role_table,
            self.operations,
            clock,
        )
        self.pubsub = PubSub(self.resources, clock)
        self.sinks = Sinks(self.registry, clock)
        self.log_router = LogRouter(self.sinks, self.pubsub, hierarchy, permissions, switches, clock)
        self.audit_log.listener = self._export
        subscriber = Subscriber(self.pubsub, self._release)
        self.streams = {"google.pubsub.v1.Subscriber/StreamingPull": subscriber.stream}
        self.revisions = Revisions(self.registry, self.operations)
        stamps = Stamps(clock)
        self.executions = Executions(self.registry, self.operations, stamps, switches, clock)
        self.custom_constraints = CustomConstraints(clock)
        self.workloads = {
            kind.collection: Workloads(
                kind,
                self.registry,
                self.deployments,
                self.policies,
                self.revisions,
                self.executions,
                self.operations,
                stamps,
                clock,
            )
            for kind in KINDS
        }
        containers = self.registry.containers
        handlers = _handlers(
            apis=(
                Projects(self.registry),
                Folders(containers),
                Organizations(containers),
                self.org_policies,
                self.custom_constraints,
                self.deny_policies,
                self.boundaries,
                ServiceAccounts(self.registry, self.accounts, self.lag),
                self.keys,
                Activities(self.registry, self.key_uses, switches),
                TimeSeries(self.registry, self.key_uses, switches),
                IAMCredentials(self.accounts, self.org_policies, self.id_tokens, self.callers.mint, clock),
                Roles(self.registry, self.role_table, clock),
                self.revisions,
                self.executions,
                JobRuns(
                    self.executions,
                    self.workloads[JOB.collection].read,
                    self.workloads[JOB.collection].forget_token,
                ),
                self.operations,
                self.sinks,
                LogReader(self.registry, self.audit_log.entries),
            ),
            tables=(*self.workloads.values(), self.resources, *self._policy_methods()),
        )
        handlers |= {**handlers_of(Publisher(self.pubsub)), **handlers_of(subscriber)}
        self.handlers = {rpc: self._auto_creating(rpc, handler) for rpc, handler in handlers.items()}

    def write(self, rpc: str, request: Any, sender: Sender) -> Any:
        """Make a call that everything permits, and record it in the audit log.

        Raises GoogleError: that of the method.
        """
        return self.audit_log.answer(rpc, request, sender, lambda: self.handlers[rpc](request))

    def _export(self, entry: Callable[[], Json]) -> None:
        """Export a log entry, which is built only if a sink exists."""
        if self.sinks:
            self.log_router.route(entry())

    def _release(self) -> None:
        """Export what is due by now."""
        self.audit_log.end_operations()
        self.log_router.release()

    def _policy_methods(self) -> Iterator[PolicyMethods]:
        """Yield the policy methods of all resources but workloads, which have their own."""
        containers, manager = self.registry.containers, "google.cloud.resourcemanager.v3"
        yield PolicyMethods(
            f"{manager}.Projects", lambda _: ResourceKind.PROJECT, self.policies, self.registry.canonical
        )
        yield PolicyMethods(
            f"{manager}.Folders",
            lambda _: ResourceKind.FOLDER,
            self.policies,
            partial(containers.canonical, "folders"),
        )
        yield PolicyMethods(
            f"{manager}.Organizations",
            lambda _: ResourceKind.ORGANIZATION,
            self.policies,
            partial(containers.canonical, "organizations"),
        )
        yield PolicyMethods(
            ServiceAccounts.SERVICE,
            lambda _: ResourceKind.SERVICE_ACCOUNT,
            self.policies,
            lambda name: policy_name(self.accounts.find_for_policy(name)),
            seen=lambda name: policy_name(self.accounts.read_for_policy(name)),
        )

    def _auto_creating(self, rpc: str, handler: Handler) -> Handler:
        """Wrap a handler so that a call that writes creates the projects and folders that it names."""
        if only_reads(rpc):
            return handler

        def changing(request: Any) -> Any:
            with self.registry.auto_creating():
                return handler(request)

        return changing


def _handlers(
    apis: Iterable[object], tables: Iterable[Workloads | PolicyMethods | TargetResources]
) -> dict[str, Handler]:
    """Return the handlers by RPC: marked methods of the APIs, and whole tables."""
    handlers: dict[str, Handler] = {}
    for api in apis:
        handlers.update(handlers_of(api))
    for table in tables:
        handlers.update(table.handlers())
    return handlers
