"""Test grants that end: warning, release, expiry by Google, and attempts to extend them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.e2e.eventually import becomes, eventually
from tests.e2e.scene import Scene

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)
ANN, OPS = "user:ann@example.com", "group:ops@example.com"
USER = "roles/iam.serviceAccountUser"
VIEWER, WRITER, CLIENT = "roles/viewer", "roles/logging.logWriter", "roles/cloudsql.client"

IDENTITY = """
kind: CloudRunIdentity
metadata: {name: checkout}
spec:
  roles: [{role: roles/logging.logWriter, duration: 2h}]
  users: [{principal: "group:deployers@example.com", duration: 2h, expiryEnforcedBy: OperatorAndGoogle}]
"""

PROJECT = """
kind: ManagedProject
metadata: {name: $scene}
spec:
  driftInterval: 1h
  locations: [europe-west1]
  namespaces: {names: [$scene]}
  guardrails:
    grants:
    - {roles: [roles/cloudsql.client, roles/logging.logWriter], targetKinds: [Project], members: ["*"]}
    - roles: [roles/viewer]
      targetKinds: [Project]
      members: ["*"]
      allowEscalation: true
      maxDuration: 2h
"""
"""Project in which the role that escalates is granted for at most two hours. The resync is an hour apart, so
that only the requeue at the end of a grant removes it."""


def binding(name: str, role: str, *members: str, **spec: str) -> str:
    fields = "".join(f"  {field}: {value}\n" for field, value in spec.items())
    listed = "".join(f"  - {{{member}}}\n" for member in members)
    return f"""
kind: IAMBinding
metadata: {{name: {name}}}
spec:
  target: {{kind: Project}}
  role: {role}
{fields}  members:
{listed}"""


def conditions(scene: Scene) -> dict[str, list[str]]:
    """Return the expressions of the conditions in the project's policy, by member."""
    found: dict[str, list[str]] = {}
    for each in scene.cloud.raw_policy(scene.project).get("bindings", ()):
        for member in each["members"]:
            found.setdefault(member, []).append(each.get("condition", {}).get("expression", ""))
    return found


def is_expired(scene: Scene, name: str) -> bool:
    """Return whether an object is Ready because the time of all its grants is over."""
    ready = scene.condition(name, "Ready")
    return ready is not None and (ready["status"], ready["reason"]) == ("True", "Expired")


@pytest.fixture
def scene(closed_scene: Scene) -> Iterator[Scene]:
    closed_scene.apply(PROJECT)
    yield closed_scene
    closed_scene.stage.set_grant_clock(timedelta())


def test_temporary_grants_are_warned_of_and_released_at_their_end(scene: Scene) -> None:
    """Only the requeue at its end releases a grant, also that of an object that is suspended by then."""
    by_google = f'principal: "{ANN}", duration: 5s, expiryEnforcedBy: OperatorAndGoogle'
    scene.apply(binding("ann", CLIENT, f'principal: "{ANN}", duration: 5s', f'principal: "{OPS}"'))
    scene.apply(binding("tmp", WRITER, by_google))
    scene.apply(binding("suspended", VIEWER, f'principal: "{ANN}", duration: 6s'))

    end = scene.wait_for_event("IAMBinding/tmp", "Expiring").partition("ends at ")[2][:20]
    assert f"if until {end} ended at {end}" in scene.wait_for_event("IAMBinding/tmp", "Expired")
    scene.patch("IAMBinding/suspended", "spec: {suspend: true}")

    becomes(scene.policy, {CLIENT: [OPS]})
    assert ANN in scene.wait_for_event("IAMBinding/ann", "Expired")
    eventually(lambda: is_expired(scene, "IAMBinding/tmp"), bool)
    becomes(lambda: scene.grants("IAMBinding/ann"), {ANN: "Expired Expired", OPS: "Granted"})
    scene.ready("IAMBinding/ann")

    scene.cloud.add(scene.project, WRITER, ANN)  # by another user
    scene.patch("IAMBinding/tmp", "spec: {existingGrants: Claim}")
    scene.fails("IAMBinding/suspended", "Suspended")
    scene.patch("IAMBinding/suspended", "spec: {suspend: false}")
    eventually(lambda: is_expired(scene, "IAMBinding/suspended"), bool)
    scene.delete_and_wait("IAMBinding/ann", "IAMBinding/tmp", "IAMBinding/suspended")
    assert scene.policy() == {WRITER: [ANN]}
    becomes(scene.ledger_targets, set())


def test_grant_that_is_over_before_it_is_made_is_expired_and_reported(scene: Scene) -> None:
    scene.apply(binding("late", CLIENT, f'principal: "{ANN}", expiresAt: "2020-01-01T00:00:00Z"'))

    eventually(lambda: is_expired(scene, "IAMBinding/late"), bool)

    assert not scene.is_stalled("IAMBinding/late")
    assert "spec.members[0]" in scene.wait_for_event("IAMBinding/late", "ExpiredBeforeGranted")
    assert scene.policy() == {}


def test_end_that_passes_while_no_operator_runs_takes_effect_at_its_start(scene: Scene) -> None:
    scene.apply(binding("ann", CLIENT, f'principal: "{ANN}", duration: 2h'))
    scene.apply(IDENTITY)
    scene.ready("IAMBinding/ann", "CloudRunIdentity/checkout")
    account = scene.account("checkout")
    [role] = scene.cloud.policy(account)
    assert (set(scene.policy()), role.partition(" if until ")[0]) == ({CLIENT, WRITER}, USER)
    assert scene.condition("IAMBinding/ann", "Expiring")["status"] == "False"
    scene.stage.operator.kill()
    scene.stage.set_grant_clock(3 * HOUR)

    scene.stage.ensure_operator()

    becomes(scene.policy, {})
    becomes(lambda: scene.cloud.policy(account), {})
    eventually(lambda: is_expired(scene, "IAMBinding/ann"), bool)
    ready = scene.condition("CloudRunIdentity/checkout", "Ready")
    assert ready is not None
    assert ready["reason"] == "UpToDate", "the account is still there"


def test_conditions_of_google_follow_the_declared_end(scene: Scene) -> None:
    member = f'principal: "{ANN}", expiresAt: "%s", expiryEnforcedBy: OperatorAndGoogle'
    scene.apply(binding("ann", CLIENT, member % "2035-01-01T00:00:00Z"))
    scene.ready("IAMBinding/ann")
    assert scene.status("IAMBinding/ann")["nextExpiryTime"] == "2035-01-01T00:00:00Z"

    scene.apply(binding("ann", CLIENT, member % "2036-01-01T00:00:00Z"))
    scene.ready("IAMBinding/ann")

    assert conditions(scene) == {ANN: ['request.time < timestamp("2036-01-01T00:00:00Z")']}


def test_no_edit_extends_a_grant_beyond_the_guardrail(scene: Scene) -> None:
    names = ("extended", "suspended", "observed", "dangling", "abandoned", "permanent")
    users = {name: f"user:{name}@example.com" for name in names}
    scene.apply(
        "---".join(binding(name, VIEWER, f'principal: "{users[name]}", duration: 2h') for name in names)
    )
    scene.apply(binding("forever", VIEWER, f'principal: "{OPS}"'))
    assert "maxDuration" in scene.fails("IAMBinding/forever", "DeniedByGuardrail")
    scene.ready(*(f"IAMBinding/{name}" for name in names))

    scene.stage.set_grant_clock(HOUR)
    scene.apply(binding("extended", VIEWER, f'principal: "{users["extended"]}", duration: 150m'))
    scene.apply(binding("permanent", VIEWER, f'principal: "{users["permanent"]}"'))
    scene.patch("IAMBinding/suspended", "spec: {suspend: true}")
    scene.patch("IAMBinding/observed", "spec: {managementPolicy: Observe}")
    scene.patch("IAMBinding/dangling", "spec: {role: null, customRoleRef: {name: nothing}}")
    scene.patch("IAMBinding/abandoned", "spec: {deletionPolicy: Abandon}")
    scene.delete_and_wait("IAMBinding/abandoned")
    for name in ("extended", "permanent"):
        scene.fails(f"IAMBinding/{name}", "DeniedByGuardrail")
    scene.fails("IAMBinding/suspended", "Suspended")
    scene.fails("IAMBinding/dangling", "DependencyNotFound")
    retained = set(users.values()) - {users["abandoned"]}
    assert set(scene.policy()[VIEWER]) == retained, "a refused edit retains what exists until its end"

    scene.stage.set_grant_clock(2 * HOUR)
    scene.apply(binding("other", CLIENT, f'principal: "{OPS}"'))

    becomes(scene.policy, {CLIENT: [OPS]})
