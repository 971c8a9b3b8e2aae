"""Existing namespaces, and which of them a ManagedProject admits."""

from collections.abc import Mapping

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.namespace_selection import admitted_namespaces
from cloudrun_identity.kube.resources import Object

Labels = Mapping[str, str]


class Namespaces:
    """Every namespace as last seen.

    Every guardrail check needs the namespaces that a project admits. They are computed once per project, and
    again after the project or the labels of a namespace have changed.
    """

    def __init__(self) -> None:
        self._labels: dict[str, Labels] = {}
        self._terminating: set[str] = set()
        self._admitted: dict[str, tuple[ManagedProject, frozenset[str]]] = {}

    def observe(self, raw: Object, *, deleted: bool) -> bool:
        """Take in a namespace, or its deletion. Return whether it may concern an object."""
        metadata = raw["metadata"]
        name = metadata["name"]
        before, was_terminating = self._labels.get(name), self.is_terminating(name)
        self._terminating.discard(name)
        if deleted:
            self._labels.pop(name, None)
        else:
            self._labels[name] = metadata.get("labels") or {}
            if metadata.get("deletionTimestamp"):
                self._terminating.add(name)
        if before == self._labels.get(name):
            return was_terminating != self.is_terminating(name)
        self._admitted.clear()
        return True

    def labels(self) -> Mapping[str, Labels]:
        """Return the labels of every namespace."""
        return self._labels

    def is_terminating(self, name: str) -> bool:
        """Return whether the namespace is being deleted."""
        return name in self._terminating

    def admitted_by(self, project: ManagedProject) -> frozenset[str]:
        """Return the namespaces that may use the project."""
        name = project.metadata.name
        known = self._admitted.get(name)
        if known is None or known[0] is not project:
            known = self._admitted[name] = project, admitted_namespaces(project, self._labels)
        return known[1]
