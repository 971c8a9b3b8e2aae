"""The steps after which the operator alone manages what another tool managed (`Handover`)."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .declarations import Conversion, Source, Tool


@dataclass(frozen=True, slots=True)
class Handover:
    """The steps of a hand-over. No step removes a grant."""

    sources: tuple[Source, ...]
    """Resources of the other tools."""
    kept: Mapping[Source, str]
    """Resources that the other tools must keep, with the reasons; an empty reason is printed elsewhere."""
    namespaces: tuple[str, ...]
    """Namespaces of the objects."""

    def text(self, directory: str) -> str:
        """Return the steps as Markdown. `directory` has the manifests."""
        return "\n".join(self._lines(shlex.quote(directory)))

    def _lines(self, directory: str) -> Iterator[str]:
        yield from (
            "# Hand-over",
            "",
            "Each step keeps every grant: the objects adopt what exists, and the other tool forgets it.",
            "",
            "1. Check that applying the manifests changes nothing in Google Cloud:",
            "",
            f"       cloudrun-identity plan -f {directory}",
            "",
            "2. Apply them, in namespaces that exist, and wait until all objects are Ready:",
            "",
            *(f"       kubectl create namespace {each}" for each in self.namespaces),
            f"       kubectl apply -f {directory}",
            f"       kubectl wait -f {directory} --for=condition=Ready --timeout=5m",
            "",
        )
        number = 3
        for tool, steps in ((Tool.TERRAFORM, _terraform), (Tool.CONFIG_CONNECTOR, _config_connector)):
            if sources := self._of(tool, Conversion.HANDED_OVER):
                yield from steps(number, sources)
                number += 1
        for conversion, text in _REMARKS.items():
            if sources := [source for tool in Tool for source in self._of(tool, conversion)]:
                yield from (f"{number}. {text}", "", *(f"   - `{source}`" for source in sources), "")
                number += 1
        if self.kept:
            yield from (
                f"{number}. Keep these resources where they are. They have parts that are left out:",
                "",
            )
            for source, why in self.kept.items():
                yield f"   - `{source}`" + (f": {why}" if why else "")
            yield ""

    def _of(self, tool: Tool, conversion: Conversion) -> list[Source]:
        return [
            each
            for each in self.sources
            if each.tool is tool and each.conversion is conversion and each not in self.kept
        ]


def _terraform(number: int, sources: Iterable[Source]) -> Iterator[str]:
    yield f"{number}. Remove these resources from Terraform's state, and their blocks from the configuration:"
    yield ""
    yield from (f"       terraform state rm {shlex.quote(source.address)}" for source in sources)
    yield ""


def _config_connector(number: int, sources: Iterable[Source]) -> Iterator[str]:
    yield (
        f"{number}. Remove these objects of Config Connector from Git, so that nothing applies them again. "
        "Then delete them without their resources:"
    )
    yield ""
    for source in sources:
        scope = f" --namespace={source.namespace}" if source.namespace else ""
        yield f"       kubectl annotate{scope} {source.address} --overwrite {_ABANDON}"
        yield f"       kubectl delete{scope} {source.address}"
    yield ""


_ABANDON = "cnrm.cloud.google.com/deletion-policy=abandon"
"""Annotation with which Config Connector leaves the resource of a deleted object.

Source: https://cloud.google.com/config-connector/docs/how-to/managing-deleting-resources.
"""

_REMARKS = {
    Conversion.SHARED: (
        "Keep deploying these workloads as before. The operator manages one field, the account. "
        "Do not change it here any more: with Terraform, list it in `lifecycle.ignore_changes`. "
        "A different account is restored as drift:"
    ),
    Conversion.REPLACED: (
        "Point the clients of these keys to the Secrets of the IdentityKeys, and then delete the keys here:"
    ),
}
"""Texts of the steps about resources that are not simply forgotten."""
