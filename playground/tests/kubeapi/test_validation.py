"""Validation by schemas: defaults, pruning, and the server's messages."""

from typing import Any

import pytest

from playground.tests.kubeapi.http import Answer, Object
from playground.tests.kubeapi.widgets import DEFINITIONS, Widgets, definition, widget

RULES_NOT_CHECKED = (
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
NOT_EMPTY = {"rule": "self.size() > 0", "message": "is empty"}
INVALID, TYPE = "FieldValueInvalid", "FieldValueTypeInvalid"


def causes_of(answer: Answer) -> list[tuple[str, str, str]]:
    assert (answer.code, answer.reason) == (422, "Invalid"), answer.body
    return [cause for cause in answer.causes if cause != RULES_NOT_CHECKED]


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        (
            {"size": 9},
            "spec.size",
            INVALID,
            "Invalid value: 9: spec.size in body should be less than or equal to 5",
        ),
        (
            {"size": 0},
            "spec.size",
            INVALID,
            "Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            {"size": "x"},
            "spec.size",
            TYPE,
            'Invalid value: "string": spec.size in body must be of type integer: "string"',
        ),
        ({"size": None}, "spec.size", "FieldValueRequired", "Required value"),
        (
            {"mode": "C"},
            "spec.mode",
            "FieldValueNotSupported",
            'Unsupported value: "C": supported values: "A", "B"',
        ),
        ({"id": "toolongid"}, "spec.id", "FieldValueTooLong", "Too long: may not be more than 8 bytes"),
        (
            {"id": "a"},
            "spec.id",
            INVALID,
            'Invalid value: "a": spec.id in body should be at least 2 chars long',
        ),
        (
            {"pattern": "b"},
            "spec.pattern",
            INVALID,
            "Invalid value: \"b\": spec.pattern in body should match '^a+$'",
        ),
        (
            {"tags": ["a", "b", "c", "d"]},
            "spec.tags",
            "FieldValueTooMany",
            "Too many: 4: must have at most 3 items",
        ),
        ({"tags": ["a", "a"]}, "spec.tags[1]", "FieldValueDuplicate", 'Duplicate value: "a"'),
        (
            {"tags": {}},
            "spec.tags",
            TYPE,
            'Invalid value: "object": spec.tags in body must be of type array: "object"',
        ),
        (
            {"parts": [{"name": "a"}, {"name": "a"}]},
            "spec.parts[1]",
            "FieldValueDuplicate",
            'Duplicate value: {"name":"a"}',
        ),
        ({"parts": [{"count": 2}]}, "spec.parts[0].name", "FieldValueRequired", "Required value"),
        (
            {"labels": {"a": "1", "b": "2", "c": "3"}},
            "spec.labels",
            "FieldValueTooMany",
            "Too many: 3: must have at most 2 items",
        ),
        (
            {"labels": {"a": 1}},
            "spec.labels.a",
            TYPE,
            'Invalid value: "integer": spec.labels.a in body must be of type string: "integer"',
        ),
        (
            {"port": True},
            "spec.port",
            TYPE,
            'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"',
        ),
        (
            {"since": "today"},
            "spec.since",
            TYPE,
            'Invalid value: "today": spec.since in body must be of type date-time: "today"',
        ),
    ],
)
async def test_schema_refuses_invalid_values(
    widgets: Widgets, spec: dict[str, Any], field: str, reason: str, message: str
) -> None:
    refused = await widgets.try_create(**spec)

    assert causes_of(refused) == [(field, reason, message)]
    assert 'Widget.contract.test "a" is invalid: ' in refused.message
    assert f"{field}: {message}" in refused.message


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"id": "A1"}, "spec.id", 'Invalid value: "A1": must be small letters'),
        ({"exact": "z"}, "spec.exact", 'Invalid value: "z": got z'),
        ({"size": 3}, "spec", "Invalid value: failed rule: self.?size.orValue(1) != 3"),
        (
            {"members": [{"user": "u"}, {"user": "u", "group": "g"}]},
            "spec.members[1]",
            "Invalid value: exactly one of user and group must be set",
        ),
    ],
)
async def test_rule_refuses_with_its_message(
    widgets: Widgets, spec: dict[str, Any], field: str, message: str
) -> None:
    assert causes_of(await widgets.try_create(**spec)) == [(field, INVALID, message)]


async def test_root_rule_sees_the_name_and_reports_its_field_path(widgets: Widgets) -> None:
    unnamed = await widgets.try_create("quite-a-long-name")
    named = await widgets.try_create("quite-a-long-name", id="short")

    message = "Invalid value: at most 12 characters where spec.id is absent"
    assert causes_of(unnamed) == [("spec.id", INVALID, message)]
    assert named.code == 201


async def test_rules_are_not_evaluated_on_a_wrong_type(widgets: Widgets) -> None:
    refused = await widgets.try_create(size="x", id="A1")

    assert refused.causes[-1] == RULES_NOT_CHECKED
    assert [field for field, _, _ in causes_of(refused)] == ["spec.size"]


async def test_all_invalid_fields_are_reported_together(widgets: Widgets) -> None:
    refused = await widgets.try_create(size=9, pattern="b", mode="C")

    assert {field for field, _, _ in causes_of(refused)} == {"spec.size", "spec.pattern", "spec.mode"}
    assert "is invalid: [" in refused.message


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"id": "abc"}, {"id": "xyz"}, "Forbidden: id is immutable"),
        ({"id": "abc"}, {"id": None}, "Forbidden: id cannot be added or removed"),
        ({}, {"id": "abc"}, "Forbidden: id cannot be added or removed"),
    ],
)
async def test_transition_rule_compares_with_the_old_value(
    widgets: Widgets, before: dict[str, Any], after: dict[str, Any], message: str
) -> None:
    await widgets.create(**before)

    refused = await widgets.api.merge(widgets.at("a"), {"spec": after})

    assert causes_of(refused) == [("spec.id", "FieldValueForbidden", message)]


async def test_rule_with_old_self_in_a_literal_is_no_transition_rule(widgets: Widgets) -> None:
    refused = await widgets.try_create(exact="oldSelf")

    assert [field for field, _, _ in causes_of(refused)] == ["spec.exact"]


async def test_transition_rule_lets_other_fields_change(widgets: Widgets) -> None:
    await widgets.create(id="abc")

    assert (await widgets.api.merge(widgets.at("a"), {"spec": {"size": 2}})).code == 200


async def test_defaults_are_set_in_absent_and_null_fields(widgets: Widgets) -> None:
    created = await widgets.create(mode=None, parts=[{"name": "p"}])

    assert created["spec"]["mode"] == "A"
    assert created["spec"]["parts"] == [{"name": "p", "count": 1}]


@pytest.mark.parametrize(
    ("field", "place", "why"),
    [
        (
            {"type": "integer", "default": "x"},
            "",
            'Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            {"type": "string", "default": "", "minLength": 1},
            "",
            'Invalid value: "":  in body should be at least 1 chars long',
        ),
        (
            {"type": "string", "default": "", "x-kubernetes-validations": [NOT_EMPTY]},
            "",
            'Invalid value: "": is empty',
        ),
        (
            {"type": "string", "default": "", "minLength": 1, "x-kubernetes-validations": [NOT_EMPTY]},
            "",
            'Invalid value: "":  in body should be at least 1 chars long',
        ),
        (
            {
                "type": "object",
                "default": {"text": ""},
                "properties": {"text": {"type": "string", "x-kubernetes-validations": [NOT_EMPTY]}},
            },
            ".text",
            'Invalid value: "": is empty',
        ),
        (
            {"type": "object", "default": {"a": "b"}, "properties": {}},
            "",
            'Invalid value: {"a":"b"}: must not have unknown fields',
        ),
        (
            {"type": "object", "default": {}, "required": ["text"], "properties": {}},
            ".text",
            "Required value",
        ),
    ],
)
async def test_definition_with_an_invalid_default_is_refused(
    widgets: Widgets, field: Object, place: str, why: str
) -> None:
    refused = await widgets.api.post(DEFINITIONS, definition(properties={"text": field}), dryRun="All")

    path = f"spec.validation.openAPIV3Schema.properties[spec].properties[text].default{place}"
    assert refused.code == 422
    assert refused.message.endswith(f" is invalid: {path}: {why}")


async def test_removed_field_gets_its_default(widgets: Widgets) -> None:
    await widgets.create(mode="B")

    patched = await widgets.api.merge(widgets.at("a"), {"spec": {"mode": None}})

    assert patched.body["spec"]["mode"] == "A"


async def test_unknown_fields_are_pruned_unless_preserved(widgets: Widgets) -> None:
    created = await widgets.create(bogus=1, parts=[{"name": "p", "odd": 1}], free={"any": {"thing": [1]}})

    assert "bogus" not in created["spec"]
    assert "odd" not in created["spec"]["parts"][0]
    assert created["spec"]["free"] == {"any": {"thing": [1]}}


async def test_unknown_fields_of_a_status_are_pruned(widgets: Widgets) -> None:
    await widgets.create()

    patched = await widgets.api.merge(widgets.at("a", "/status"), {"status": {"text": "x", "odd": 1}})

    assert patched.body["status"] == {"text": "x"}


async def test_strict_field_validation_refuses_unknown_fields(widgets: Widgets) -> None:
    refused = await widgets.api.post(
        widgets.path, widget(bogus=1, parts=[{"name": "p", "odd": 1}]), fieldValidation="Strict"
    )

    assert (refused.code, refused.reason) == (400, "BadRequest")
    assert refused.message == (
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: '
        'unknown field "spec.bogus", unknown field "spec.parts[0].odd"'
    )


async def test_field_validation_warns_by_default(widgets: Widgets) -> None:
    unsaid = await widgets.api.post(widgets.path, widget(bogus=1), dryRun="All")
    warned = await widgets.api.post(widgets.path, widget(bogus=1), dryRun="All", fieldValidation="Warn")
    ignored = await widgets.api.post(widgets.path, widget(bogus=1), dryRun="All", fieldValidation="Ignore")

    assert unsaid.headers["Warning"] == warned.headers["Warning"] == [r'299 - "unknown field \"spec.bogus\""']
    assert "Warning" not in ignored.headers


async def test_strict_field_validation_of_a_built_in_kind(widgets: Widgets) -> None:
    path = f"/api/v1/namespaces/{widgets.namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "bogus": {"a": "b"}}

    refused = await widgets.api.post(path, body, fieldValidation="Strict")

    assert refused.code == 400
    assert 'unknown field "bogus"' in refused.message
