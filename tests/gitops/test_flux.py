"""Evaluate the health check for Flux of docs/reference/status.md on an object in every state.

Flux evaluates these expressions with the top-level fields of the object as variables:
https://fluxcd.io/flux/components/kustomize/kustomizations/#health-check-expressions
"""

import yaml
from cel_expr_python.cel import NewEnv, Type

from cloudrun_identity.reconcile.outcomes import Paused
from tests.documented import ROOT, blocks
from tests.gitops.states import Kstatus, Object, State, object_in, states


def expressions() -> dict[str, str]:
    """Return the documented expressions by their name."""
    [block] = [
        block for block in blocks(ROOT / "docs" / "reference" / "status.md") if "healthCheckExprs" in block
    ]
    [check] = yaml.safe_load(block)["spec"]["healthCheckExprs"]
    return {name: check[name] for name in ("current", "failed")}


def health(checks: dict[str, str], obj: Object) -> Kstatus:
    """Return the health that Flux reports: what holds first, or in progress."""
    environment = NewEnv(variables=dict.fromkeys(obj, Type.DYN))

    def holds(name: str) -> bool:
        result = environment.compile(checks[name]).eval(data=obj)
        assert result.type() == Type.BOOL, result.value()
        return bool(result.value())

    if holds("failed"):
        return Kstatus.FAILED
    return Kstatus.CURRENT if holds("current") else Kstatus.IN_PROGRESS


def expected(state: State) -> Kstatus:
    is_settled = isinstance(state.outcome, Paused) and not state.edited
    return Kstatus.CURRENT if is_settled else state.kstatus


def test_flux_does_not_wait_for_suspended_and_observed_objects() -> None:
    checks = expressions()

    # The expressions read only fields that all kinds share.
    for state in states():
        if not state.deleting:
            assert health(checks, object_in("CloudRunIdentity", state)) == expected(state), state.name
