"""Formats of a plan for code review: GitHub annotations with a Markdown summary, and SARIF."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .code_review import annotation, sarif_log, sarif_result
from .plan_output import PlanOutput, blocker_text, by_resource, step_text, summary

if TYPE_CHECKING:
    from cloudrun_identity.plan.model import PlanBlocker, PlannedStep

ADDED, CHANGED, REMOVED = "PlannedAddition", "PlannedChange", "PlannedRemoval"
_RULES = {"+": ADDED, "~": CHANGED, "-": REMOVED}

MAX_SUMMARY = 900 * 1024
"""Bytes of a Markdown summary. GitHub drops a summary of more than 1 MiB
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary)."""


def as_annotations(output: PlanOutput) -> Iterator[str]:
    """Yield GitHub workflow commands: an error or warning per blocker, a warning per removal."""
    for blocker in output.plan.blockers:
        level = "error" if blocker.final else "warning"
        title = f"{blocker.object}: {blocker.reason}"
        yield annotation(level, output.source(blocker.object), title, blocker.message)
    for step in output.plan.steps:
        if step.sign == "-":
            title = f"Removal from {step.resource}"
            yield annotation("warning", output.source(step.object), title, step_text(step))
    level = {0: "notice", 1: "error", 2: "notice"}[output.exit_code]
    yield annotation(level, None, "cloudrun-identity plan", summary(output))


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
    """Return the plan as a SARIF log: each change and each blocker is a result with the file and line."""
    results = [_blocker_result(output, each) for each in output.plan.blockers]
    results += [_step_result(output, each) for each in output.plan.steps]
    return sarif_log("plan", version, results, exit_code=output.exit_code, notes=output.notes)


def _blocker_result(output: PlanOutput, blocker: "PlanBlocker") -> dict[str, object]:
    level = "error" if blocker.final else "warning"
    text = f"{blocker.object}: {blocker.message}"
    return sarif_result(blocker.reason, level, text, output.source(blocker.object))


def _step_result(output: PlanOutput, step: "PlannedStep") -> dict[str, object]:
    level = "warning" if step.sign == "-" else "note"
    return sarif_result(
        _RULES[step.sign], level, f"{step.resource}: {step_text(step)}", output.source(step.object)
    )


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
