"""The rules by which `kubectl wait`, Flux and Argo CD read a status, checked on one status."""

from cloudrun_identity.api import Condition, ConditionStatus, ConditionType, ReconciledStatus

ABNORMAL = (ConditionType.RECONCILING, ConditionType.STALLED)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def violations(status: ReconciledStatus, generation: int) -> list[str]:
    """What of the rules the status breaks, at this generation of its object."""
    by_type = {condition.type: condition for condition in status.conditions}
    ready = by_type.get(ConditionType.READY)
    if ready is None:
        return ["2: Ready is always there"]
    reconciling, stalled = (_is_true(by_type.get(each)) for each in ABNORMAL)
    observed = status.observed_generation or 0
    generations = {condition.observed_generation or 0 for condition in status.conditions}
    rules = {
        "0: every type is there once": len(by_type) == len(status.conditions),
        "0: what is abnormal is there only while True": all(
            _is_true(by_type[each]) for each in ABNORMAL if each in by_type
        ),
        "1: nothing abnormal while Ready": ready.status is not TRUE or not (reconciling or stalled),
        "3: Reconciling is not Ready": not reconciling or ready.status is not TRUE,
        "4: Stalled is not Ready": not stalled or ready.status is FALSE,
        "5: never Reconciling and Stalled": not (reconciling and stalled),
        "6: nothing is observed that is not there yet": observed <= generation,
        "7: Ready speaks of the newest generation": observed == generation or ready.status is not TRUE,
        "8: no condition is ahead of the status": max(generations) <= observed,
        "9: Ready means that everything was looked at": ready.status is not TRUE or generations == {observed},
        "10: an unknown is being found out": ready.status is not UNKNOWN or reconciling,
    }
    return [rule for rule, retains in rules.items() if not retains]


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status is TRUE
