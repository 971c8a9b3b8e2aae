"""Formats of a plan for code review: GitHub annotations with a Markdown summary, and SARIF."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .plan_output import PlanOutput, blocker_text, by_resource, step_text, summary

if TYPE_CHECKING:
    from cloudrun_identity.kube.manifest_files import Source
    from cloudrun_identity.plan.model import PlanBlocker, PlannedStep

SARIF_VERSION = "2.1.0"
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_STDIN = "-"

ADDED, CHANGED, REMOVED = "PlannedAddition", "PlannedChange", "PlannedRemoval"
_RULES = {"+": ADDED, "~": CHANGED, "-": REMOVED}

MAX_SUMMARY = 900 * 1024
"""Bytes of a Markdown summary. GitHub drops a summary of more than 1 MiB
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary)."""


def as_annotations(output: PlanOutput) -> Iterator[str]:
    """Yield GitHub workflow commands: an error or warning per blocker, a warning per removal.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    for blocker in output.plan.blockers:
        level = "error" if blocker.final else "warning"
        title = f"{blocker.object}: {blocker.reason}"
        yield _annotation(level, output.source(blocker.object), title, blocker.message)
    for step in output.plan.steps:
        if step.sign == "-":
            title = f"Removal from {step.resource}"
            yield _annotation("warning", output.source(step.object), title, step_text(step))
    level = {0: "notice", 1: "error", 2: "notice"}[output.exit_code]
    yield _annotation(level, None, "cloudrun-identity plan", summary(output))


def as_markdown(output: PlanOutput) -> str:
    """Return a summary for a pull request, with a diff of all changes."""
    lines = ["### cloudrun-identity plan", "", f"**{summary(output)}**", ""]
    if output.plan.blockers:
        lines += ["```diff", *(_one_line(blocker_text(each)) for each in output.plan.blockers), "```", ""]
    if output.plan.steps:
        lines += ["<details open><summary>Changes by resource</summary>", "", "```diff"]
        for resource, steps in by_resource(output.plan.steps):
            lines.append(_one_line(f"# {resource}"))
            lines += [_one_line(_diff_line(step)) for step in steps]
        lines += ["```", "", "</details>", ""]
    lines += [f"> {_one_line(note)}" for note in output.notes]
    return _cut("\n".join(lines).rstrip() + "\n")


def as_sarif(output: PlanOutput, version: str) -> dict[str, object]:
    """Return the plan as a SARIF log: each change and each blocker is a result with the file and line.

    https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    """
    results = [_blocker_result(output, each) for each in output.plan.blockers]
    results += [_step_result(output, each) for each in output.plan.steps]
    rules = sorted({str(result["ruleId"]) for result in results})
    return {
        "$schema": _SARIF_SCHEMA,
        "version": SARIF_VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "cloudrun-identity plan",
                        "version": version,
                        "rules": [{"id": rule} for rule in rules],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": output.exit_code != 1,
                        "exitCode": output.exit_code,
                        "toolExecutionNotifications": [
                            {"level": "note", "message": {"text": note}} for note in output.notes
                        ],
                    }
                ],
                "results": results,
            }
        ],
    }


def _blocker_result(output: PlanOutput, blocker: "PlanBlocker") -> dict[str, object]:
    level = "error" if blocker.final else "warning"
    text = f"{blocker.object}: {blocker.message}"
    return _result(blocker.reason, level, text, output.source(blocker.object))


def _step_result(output: PlanOutput, step: "PlannedStep") -> dict[str, object]:
    level = "warning" if step.sign == "-" else "note"
    return _result(
        _RULES[step.sign], level, f"{step.resource}: {step_text(step)}", output.source(step.object)
    )


def _result(rule: str, level: str, text: str, source: "Source | None") -> dict[str, object]:
    result: dict[str, object] = {"ruleId": str(rule), "level": level, "message": {"text": text}}
    if source and str(source.path) != _STDIN:
        location = {
            "artifactLocation": {"uri": source.path.as_posix()},
            "region": {"startLine": source.line},
        }
        result["locations"] = [{"physicalLocation": location}]
    return result


def _annotation(level: str, source: "Source | None", title: str, message: str) -> str:
    properties = {"title": title}
    if source and str(source.path) != _STDIN:
        properties = {"file": source.path.as_posix(), "line": str(source.line), **properties}
    shown = ",".join(f"{name}={_escaped_property(value)}" for name, value in properties.items())
    return f"::{level} {shown}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _diff_line(step: "PlannedStep") -> str:
    """Return a step as a line of a diff, in which `!` marks a change."""
    return step_text(step).replace("~", "!", 1) if step.sign == "~" else step_text(step)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str) -> str:
    """Return the text, or as much of it as a summary may have."""
    if len(text.encode()) <= MAX_SUMMARY:
        return text
    kept = text.encode()[:MAX_SUMMARY].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n```\n\nThe summary is cut; `-o json` has the whole plan.\n"
