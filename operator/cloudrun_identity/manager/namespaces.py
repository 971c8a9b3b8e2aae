"""The namespaces there are, and which of them a project admits."""

from collections.abc import Collection, Mapping

from cloudrun_identity.api import ManagedProject
from cloudrun_identity.iam.admission import admitted_namespaces
from cloudrun_identity.kube.resources import Object

Labels = Mapping[str, str]


class Namespaces:
    """Every namespace as last seen.

    Each guardrail is asked with the namespaces that its project admits, some times in every pass: they are
    worked out once for a project, until it or a namespace changes.
    """

    def __init__(self) -> None:
        self._labels: dict[str, Labels] = {}
        self._terminating: set[str] = set()
        self._admitted: dict[str, tuple[ManagedProject, frozenset[str]]] = {}

    def observe(self, raw: Object, *, deleted: bool) -> bool:
        """Take in a namespace, or its end; whether that can make a difference to anybody."""
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
        """The labels of every namespace."""
        return self._labels

    def is_terminating(self, name: str) -> bool:
        """Whether the namespace is on its way out."""
        return name in self._terminating

    def missing(self, listed: Collection[str], known: Mapping[str, Labels]) -> list[str]:
        """Which of the `known` ones ended, as a list shows that was made since; not what was made anew."""
        return [
            name for name, labels in known.items() if name not in listed and self._labels.get(name) is labels
        ]

    def admitted_by(self, project: ManagedProject) -> frozenset[str]:
        """Those that may use the project."""
        name = project.metadata.name
        known = self._admitted.get(name)
        if known is None or known[0] is not project:
            known = self._admitted[name] = project, admitted_namespaces(project, self._labels)
        return known[1]
