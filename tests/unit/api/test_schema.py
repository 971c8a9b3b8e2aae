from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import pytest

from cloudrun_identity.api.schema import (
    ApiModel,
    Clipped,
    Rule,
    Timestamp,
    cel_string,
    clip,
    legible,
    matches,
    wire_name,
)


class Note(ApiModel):
    text: Annotated[str, Clipped(5)] = ""
    lines: Annotated[tuple[str, ...], Clipped(2)] = ()
    written: Timestamp | None = None


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("name", "name"),
        ("id", "id"),
        ("uid", "uid"),
        ("display_name", "displayName"),
        ("project_id", "projectID"),
        ("unique_ids", "uniqueIDs"),
        ("owner_uid", "ownerUID"),
        ("open_id_token_creators", "openIDTokenCreators"),
        ("account_id_pattern", "accountIDPattern"),
        ("api_version", "apiVersion"),
    ],
)
def test_wire_name_is_camel_case_with_acronyms_in_capitals(attribute: str, name: str) -> None:
    assert wire_name(attribute) == name


def test_text_beyond_its_bound_ends_in_an_ellipsis() -> None:
    assert Note(text="abcdef").text == "abcd…"
    assert Note(text="abcde").text == "abcde"


def test_list_beyond_its_bound_keeps_the_first_entries() -> None:
    assert Note(lines=("a", "b", "c")).lines == ("a", "b")


def test_clipped_bounds_reach_the_schema() -> None:
    properties = Note.model_json_schema()["properties"]

    assert properties["text"]["maxLength"] == 5
    assert properties["lines"]["maxItems"] == 2


def test_legible_text_escapes_control_characters() -> None:
    quoted = "a\x1b[2J\nb\u202ec"
    assert legible(quoted) == "a\\x1b[2J b\\u202ec"
    assert legible("→ “Ä” 日本 …") == "→ “Ä” 日本 …"
    assert Note(text="a\nb").text == "a b"
    assert clip("\x1b" * 9, 8) == "\\x1b\\x1…"


def test_timestamp_survives_writing_and_reading() -> None:
    moment = datetime(2026, 1, 2, 4, 4, 5, 999_999, tzinfo=timezone(timedelta(hours=1)))

    note = Note(written=moment)

    assert note.written == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert note.to_dict()["written"] == "2026-01-02T03:04:05Z"
    assert Note.model_validate(note.to_dict()) == note


def test_unset_field_is_not_written() -> None:
    assert "written" not in Note(text="a").to_dict()


def test_unknown_fields_are_ignored() -> None:
    assert Note.model_validate({"text": "a", "later": 1}) == Note(text="a")


def test_cel_string_quotes_backslashes_and_quotes() -> None:
    assert cel_string(r"a\.b'c") == r"'a\\.b\'c'"


def test_rule_omits_unset_parts() -> None:
    assert matches("^a$", "must be a").to_dict() == {
        "rule": "self.matches('^a$')",
        "message": "must be a",
        "reason": "FieldValueInvalid",
    }
    assert Rule("true", "never", field_path=".a").to_dict()["fieldPath"] == ".a"
