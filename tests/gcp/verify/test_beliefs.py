"""Each belief holds on the emulator, and is reported as false where the emulator violates it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cloudrun_identity_playground.emulator.access import effective
from cloudrun_identity_playground.emulator.access.denials import denied
from cloudrun_identity_playground.emulator.apis.policy_rules import ResourceKind
from cloudrun_identity_playground.emulator.emulator import Emulator
from cloudrun_identity_playground.emulator.errors import GoogleError, invalid, not_found
from cloudrun_identity_playground.emulator.faults import ErrorInfo, Fault
from tools.verify.beliefs import Belief, Cost, Result
from tools.verify.catalog import BELIEFS
from tools.verify.checks.accounts import LAG, MISSING_ACCOUNT, TOMBSTONES
from tools.verify.checks.permissions import DELEGATION, PERMISSION_NAMES
from tools.verify.checks.policies import CONDITIONS, REFUSED_POLICIES
from tools.verify.checks.quotas import LASTING_QUOTAS
from tools.verify.checks.workloads import UPDATE_JOB, UPDATE_MASKS
from tools.verify.cleanup import cleaned
from tools.verify.runner import Finding, check, check_all
from tools.verify.sandbox import Sandbox

from .conftest import CALLER, state

IAM = "google.iam.admin.v1.IAM"
PROJECTS = "google.cloud.resourcemanager.v3.Projects"
RUN = "google.cloud.run.v2"


@pytest.mark.parametrize("lag", ["0s", "0.2s"])
async def test_every_belief_holds_and_nothing_is_left(lag: str, emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.switches.update({"lag": lag})
    before = state(emulator)
    left: list[str] = []
    async with cleaned(sandbox, left):
        findings = await check_all(BELIEFS, sandbox, set(Cost), lambda line: None)
    unexpected = [(each.belief.id, each.observations) for each in findings if each.result is not Result.HOLDS]
    assert unexpected == []
    assert left == []
    assert state(emulator) == before
    assert emulator.calls[f"{RUN}.Jobs/RunJob"] == 0


async def test_the_listed_permissions_of_the_caller_suffice(emulator: Emulator, sandbox: Sandbox) -> None:
    before = state(emulator)
    emulator.switches.without_token = CALLER
    sandbox.settings = replace(sandbox.settings, caller=CALLER, secret="")
    left: list[str] = []
    async with cleaned(sandbox, left):
        findings = await check_all(BELIEFS, sandbox, {Cost.FAST, Cost.SLOW}, lambda line: None)
    unconfirmed = {each.belief.id: each.observations for each in findings if each.result is not Result.HOLDS}
    assert unconfirmed == {LASTING_QUOTAS.id: ()}
    assert left == []
    assert state(emulator) == before


async def test_access_is_unknown_to_a_caller_without_a_name(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.switches.without_token = CALLER
    for belief in (LAG, DELEGATION):
        finding = await check(belief, sandbox)
        assert finding.result is Result.UNKNOWN
        assert "--caller" in finding.observations[-1].answer


async def test_slow_checks_and_quotas_need_an_option(sandbox: Sandbox) -> None:
    skipping = [belief for belief in BELIEFS if belief.cost is not Cost.FAST]
    findings = await check_all(skipping, sandbox, {Cost.FAST}, lambda line: None)
    assert {each.belief.cost for each in findings} == {Cost.SLOW, Cost.QUOTA}
    assert {each.result for each in findings} == {Result.SKIPPED}


async def test_a_check_that_cannot_call_google_decides_nothing(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.faults.add(Fault(method=f"{IAM}/*", code="PERMISSION_DENIED", message="no access", times=99))
    finding = await check(MISSING_ACCOUNT, sandbox)
    assert finding.result is Result.UNKNOWN
    assert "no access" in finding.observations[-1].answer


async def test_an_ignored_update_mask_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    def without_mask(call: Call, request: Any) -> Any:
        type(request).pb(request).ClearField("update_mask")
        return call(request)

    replace_handler(emulator, f"{RUN}.WorkerPools/UpdateWorkerPool", without_mask)
    assert "also changed: description" in await refutation(UPDATE_MASKS, sandbox)


async def test_a_refused_update_mask_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.faults.add(Fault(method=f"{RUN}.Services/UpdateService", code="INVALID_ARGUMENT"))
    assert "INVALID_ARGUMENT" in await refutation(UPDATE_MASKS, sandbox)


async def test_a_lost_field_of_a_job_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    def losing(call: Call, request: Any) -> Any:
        del type(request).pb(request).job.template.template.containers[0].env[1]
        return call(request)

    replace_handler(emulator, f"{RUN}.Jobs/UpdateJob", losing)
    assert "also changed: template.template.containers" in await refutation(UPDATE_JOB, sandbox)


async def test_another_status_of_a_refused_policy_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    def hiding(call: Call, request: Any) -> Any:
        try:
            return call(request)
        except GoogleError as error:
            raise not_found(error.message) from error

    replace_handler(emulator, f"{RUN}.Jobs/SetIamPolicy", hiding)
    assert "NOT_FOUND" in await refutation(REFUSED_POLICIES, sandbox)


async def test_an_accepted_bad_policy_is_false_and_reverted(emulator: Emulator, sandbox: Sandbox) -> None:
    policies = emulator.cloud.policies

    def unchecked(call: Call, request: Any) -> Any:
        with policies.unchecked():
            return call(request)

    await sandbox.account("anchor")  # its lag shows in a refusal
    before = state(emulator)["policies"][f"projects/{sandbox.project_id}"]
    replace_handler(emulator, f"{PROJECTS}/SetIamPolicy", unchecked)
    assert await refutation(REFUSED_POLICIES, sandbox) == "accepted"
    assert state(emulator)["policies"][f"projects/{sandbox.project_id}"] == before


async def test_a_policy_that_cannot_be_written_decides_nothing(emulator: Emulator, sandbox: Sandbox) -> None:
    def refusing(call: Call, request: Any) -> Any:
        raise denied(f"{RUN}.Jobs/SetIamPolicy", "run.jobs.setIamPolicy", request.resource)

    replace_handler(emulator, f"{RUN}.Jobs/SetIamPolicy", refusing)
    assert (await check(REFUSED_POLICIES, sandbox)).result is Result.UNKNOWN


async def test_a_denied_read_of_a_missing_account_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    def denying(call: Call, request: Any) -> Any:
        try:
            return call(request)
        except GoogleError as error:
            raise denied(f"{IAM}/GetServiceAccount", "iam.serviceAccounts.get", request.name) from error

    replace_handler(emulator, f"{IAM}/GetServiceAccount", denying)
    assert "PERMISSION_DENIED" in await refutation(MISSING_ACCOUNT, sandbox)


async def test_a_longer_lag_of_accounts_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.switches.lag = timedelta(seconds=0.3)
    sandbox.settings = replace(sandbox.settings, account_lag=0.1)
    assert "expected within 0.1 s" in await refutation(LAG, sandbox)


async def test_an_account_that_is_never_usable_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.switches.lag = timedelta(hours=1)
    sandbox.settings = replace(sandbox.settings, max_wait=0.1)
    assert "no success in 0.1 s" in await refutation(LAG, sandbox)


async def test_a_grant_without_effect_is_false(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effective.EffectivePermissions, "has", lambda self, caller, *rest: caller.is_admin)
    sandbox.settings = replace(sandbox.settings, max_wait=0.1)
    assert "no success in 0.1 s" in await refutation(LAG, sandbox)


async def test_a_refused_live_member_beside_a_tombstone_is_false(
    emulator: Emulator, sandbox: Sandbox
) -> None:
    emulator.switches.tombstone_conflict = True
    assert "INVALID_ARGUMENT" in await refutation(TOMBSTONES, sandbox)


async def test_a_hidden_tombstone_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    emulator.switches.stale_ids = True
    assert await refutation(TOMBSTONES, sandbox) == "shows live member"


async def test_a_refused_permission_name_is_false_and_named(emulator: Emulator, sandbox: Sandbox) -> None:
    def refusing(call: Call, request: Any) -> Any:
        if "orgpolicy.policy.get" in request.permissions:
            raise invalid("Permission orgpolicy.policy.get is not valid for this resource.")
        return call(request)

    replace_handler(emulator, f"{PROJECTS}/TestIamPermissions", refusing)
    assert "refused alone: orgpolicy.policy.get" in await refutation(PERMISSION_NAMES, sandbox)


async def test_a_condition_that_is_not_enforced_is_false(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effective, "is_met", lambda expression, attributes: True)
    finding = await check(DELEGATION, sandbox)
    accepted = [each.subject for each in finding.observations if each.result is Result.FALSE]
    assert accepted == ["add another role", "remove another role"]


async def test_a_condition_that_denies_too_much_is_false(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effective, "is_met", lambda expression, attributes: not attributes.modified_roles)
    sandbox.settings = replace(sandbox.settings, access_lag=0.1)
    assert "PermissionDenied" in await refutation(DELEGATION, sandbox)


async def test_an_accepted_condition_on_a_job_is_false(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResourceKind, "takes_conditions", True)
    finding = await check(CONDITIONS, sandbox)
    accepted = [each.subject for each in finding.observations if each.result is Result.FALSE]
    assert accepted == ["condition in the policy of Job", "condition in the policy of WorkerPool"]


async def test_a_quota_that_looks_like_a_rate_is_false(emulator: Emulator, sandbox: Sandbox) -> None:
    await sandbox.account("anchor")
    emulator.faults.add(
        Fault(
            method=f"{IAM}/CreateServiceAccountKey",
            code="RESOURCE_EXHAUSTED",
            error_info=ErrorInfo(reason="RATE_LIMIT_EXCEEDED"),
        )
    )
    assert "RATE_LIMIT_EXCEEDED" in await refutation(LASTING_QUOTAS, sandbox)


Call = Callable[[Any], Any]


def replace_handler(emulator: Emulator, rpc: str, violating: Callable[[Call, Any], Any]) -> None:
    """Answer a method with `violating`, which receives the emulator's own handler."""
    handler = emulator.cloud.handlers[rpc]
    emulator.cloud.handlers[rpc] = lambda request: violating(handler, request)


async def refutation(belief: Belief, sandbox: Sandbox) -> str:
    """Return the first answer that refutes the belief."""
    finding: Finding = await check(belief, sandbox)
    assert finding.result is Result.FALSE, finding.observations
    return next(each.answer for each in finding.observations if each.result is Result.FALSE)
