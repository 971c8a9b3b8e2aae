"""Selection of the namespaces that a ManagedProject admits: `spec.namespaces`."""

from collections.abc import Mapping

from cloudrun_identity.api import LabelRequirement, LabelSelector, ManagedProject, SelectorOperator


def admitted_namespaces(project: ManagedProject, existing: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Return the existing namespaces, given with their labels, that the project admits."""
    return frozenset(name for name, labels in existing.items() if admits_namespace(project, name, labels))


def admits_namespace(project: ManagedProject, namespace: str, labels: Mapping[str, str]) -> bool:
    """Return whether the project lists the namespace or selects its labels."""
    admitted = project.spec.namespaces
    return namespace in admitted.names or bool(admitted.selector and _selects(admitted.selector, labels))


def _selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether all requirements hold. An empty selector selects nothing, unlike in Kubernetes."""
    if not selector.match_labels and not selector.match_expressions:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case SelectorOperator.IN:
            return value in requirement.values
        case SelectorOperator.NOT_IN:
            return value not in requirement.values
        case SelectorOperator.EXISTS:
            return value is not None
        case SelectorOperator.DOES_NOT_EXIST:
            return value is None
