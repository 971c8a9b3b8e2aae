import re
from pathlib import Path

import pytest

from cloudrun_identity.api.crd import generate
from cloudrun_identity.api.reference import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"


def row(text: str, kind: str, field: str) -> str:
    """The row of a field of a kind's spec; the first of that path."""
    [_, section] = text.split(f"\n## {kind}\n", 1)
    return next(line for line in section.splitlines() if line.startswith(f"| `{field}` |"))


def test_committed_page_is_the_generated_one() -> None:
    assert PAGE.read_text() == page(), "make generate was forgotten"


@pytest.mark.parametrize("kind", generate())
def test_every_field_has_a_row(kind: str) -> None:
    def names(schema: object) -> list[str]:
        match schema:
            case {"properties": dict(fields)}:
                return [name for key, child in fields.items() for name in (key, *names(child))]
            case {"items": inner} | {"additionalProperties": inner}:
                return names(inner)
        return []

    [version] = generate()[kind]["spec"]["versions"]
    fields = version["schema"]["openAPIV3Schema"]["properties"]
    section = page().split(f"\n## {kind}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert [path.rpartition(".")[2] for path in rows] == [
        *names(fields["spec"]),
        *names(fields.get("status")),
    ]


def test_row_has_requirements_rules_and_default() -> None:
    text = page()
    assert "| string, required |" in row(text, "CloudRunIdentity", "projectRef.name")
    assert "One of `Fail`, `Adopt`. Default: `Fail`." in row(text, "CloudRunIdentity", "adoption")
    assert "Immutable." in row(text, "CloudRunIdentity", "accountID")
    assert "`names` must be set where targetKinds contains Secret" in row(
        text, "ManagedProject", "guardrails.grants"
    )
    assert "At least 0. At most 10,000." in row(text, "ManagedProject", "guardrails.maxRemovalsPerHour")


def test_bar_in_a_text_is_escaped() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in rows)
