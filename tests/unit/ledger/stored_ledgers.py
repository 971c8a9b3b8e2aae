"""Ledgers of a project as the store writes them, and writes of other processes."""

from collections.abc import Callable, Iterable

from cloudrun_identity.api import TargetKind
from cloudrun_identity.iam.grants import Grant, Target
from cloudrun_identity.kube.objects import resource
from cloudrun_identity.kube.resources import Object
from cloudrun_identity.ledger.model import Ledger, entry_of
from cloudrun_identity.ledger.objects import object_name, to_object
from tests.unit.kube.fake_api import FakeApi

LEDGERS = resource("PolicyLedger")
NAMESPACE = "cloudrun-identity"
PROJECT = Target(TargetKind.PROJECT, "payments-prod-1234")


def grant(member: str, target: Target = PROJECT) -> Grant:
    return Grant(target, "roles/run.invoker", f"user:{member}@example.com")


def with_owners(ledger: Ledger, grants: Iterable[Grant], owners: list[str]) -> Ledger:
    new = {each: entry_of(each, owners) for each in grants}
    return ledger.with_entries({**ledger.entries, **new})


def entered(*members: str) -> Callable[[Ledger], Ledger]:
    """Add an entry for each member."""

    def change(ledger: Ledger) -> Ledger:
        grants = [grant(member, ledger.target) for member in members]
        return with_owners(ledger, grants, ["IAMBinding/a/b/c"])

    return change


def emptied(ledger: Ledger) -> Ledger:
    return Ledger.of(ledger.target)


def stored(api: FakeApi, target: Target = PROJECT) -> Object:
    return api.objects["policyledgers", NAMESPACE, object_name(target)]


def stored_members(api: FakeApi, target: Target = PROJECT) -> set[str]:
    bindings = stored(api, target)["spec"]["bindings"]
    return {item["member"] for binding in bindings for item in binding["members"]}


def by_another(api: FakeApi, *members: str) -> Callable[[], None]:
    """Let another process write these members."""

    def write() -> None:
        metadata = {"name": object_name(PROJECT), "namespace": NAMESPACE}
        api.put(LEDGERS, to_object(entered(*members)(Ledger.of(PROJECT)), metadata))

    return write
