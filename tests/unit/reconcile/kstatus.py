"""Check a status against the rules that `kubectl wait`, Flux and Argo CD read it by."""

from cloudrun_identity.api import Condition, ConditionStatus, ConditionType, ReconciledStatus

ABNORMAL = (ConditionType.RECONCILING, ConditionType.STALLED)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def violations(status: ReconciledStatus, generation: int) -> list[str]:
    """Return the rules that the status breaks at this generation of its object."""
    by_type = {condition.type: condition for condition in status.conditions}
    ready = by_type.get(ConditionType.READY)
    if ready is None:
        return ["2: Ready is always present"]
    reconciling, stalled = (_is_true(by_type.get(each)) for each in ABNORMAL)
    observed = status.observed_generation or 0
    generations = {condition.observed_generation or 0 for condition in status.conditions}
    rules = {
        "0: every type is present once": len(by_type) == len(status.conditions),
        "0: an abnormal condition is present only while True": all(
            _is_true(by_type[each]) for each in ABNORMAL if each in by_type
        ),
        "1: no abnormal condition while Ready": ready.status is not TRUE or not (reconciling or stalled),
        "3: Reconciling is not Ready": not reconciling or ready.status is not TRUE,
        "4: Stalled is not Ready": not stalled or ready.status is FALSE,
        "5: never Reconciling and Stalled": not (reconciling and stalled),
        "6: the observed generation exists": observed <= generation,
        "7: Ready is about the newest generation": observed == generation or ready.status is not TRUE,
        "8: no condition is ahead of the status": max(generations) <= observed,
        "9: Ready means that every condition was observed": ready.status is not TRUE
        or generations == {observed},
        "10: an unknown Ready is being reconciled": ready.status is not UNKNOWN or reconciling,
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status is TRUE
