"""Formats for code review that several commands share: GitHub workflow commands, and SARIF."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudrun_identity.kube.manifest_files import Source

SARIF_VERSION = "2.1.0"
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_STDIN = "-"


def sarif_log(
    command: str,
    version: str,
    results: Iterable[dict[str, object]],
    *,
    exit_code: int,
    notes: Iterable[str] = (),
) -> dict[str, object]:
    """Return a SARIF log of one run of a command. `notes` are about the run, not about a file.

    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    listed = list(results)
    rules = sorted({str(result["ruleId"]) for result in listed})
    return {
        "$schema": _SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": f"cloudrun-identity {command}",
                        "version": version,
                        "rules": [{"id": rule} for rule in rules],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": exit_code != 1,
                        "exitCode": exit_code,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": note}} for note in notes
                        ],
                    }
                ],
                "results": listed,
            }
        ],
    }


def sarif_result(rule: str, level: str, text: str, source: "Source | None") -> dict[str, object]:
    """Return a result with the place of the manifest. `level` is error, warning or note."""
    result: dict[str, object] = {"ruleId": str(rule), "level": level, "message": {"text": text}}
    if source and str(source.path) != _STDIN:
        location = {
            "artifactLocation": {"uri": source.path.as_posix()},
            "region": {"startLine": source.line},
        }
        result["locations"] = [{"physicalLocation": location}]
    return result


def annotation(level: str, source: "Source | None", title: str, message: str) -> str:
    """Return a GitHub workflow command. `level` is error, warning or notice.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    properties = {"title": title}
    if source and str(source.path) != _STDIN:
        properties = {"file": source.path.as_posix(), "line": str(source.line), **properties}
    shown = ",".join(f"{name}={_escaped_property(value)}" for name, value in properties.items())
    return f"::{level} {shown}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
