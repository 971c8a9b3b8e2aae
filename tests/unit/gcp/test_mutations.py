"""The mutation log."""

import logging

import pytest

from cloudrun_identity.gcp.mutations import log_mutation
from cloudrun_identity.gcp.requests import request_reason


def test_mutation_is_one_line_with_the_reconciled_object(caplog: pytest.LogCaptureFixture) -> None:
    request_reason.set("payments/checkout@3")
    with caplog.at_level(logging.INFO):
        log_mutation("patch", "//iam.googleapis.com/projects/acme", before="'A\nB'", after="'C'")

    (record,) = caplog.records
    assert record.getMessage() == "patch //iam.googleapis.com/projects/acme: 'A B' → 'C'"
    assert record.__dict__["on_behalf_of"] == "payments/checkout@3"
    assert record.__dict__["verb"] == "patch"
    assert record.__dict__["resource"] == "//iam.googleapis.com/projects/acme"
    assert (record.__dict__["before"], record.__dict__["after"]) == ("'A B'", "'C'")


def test_secrets_are_redacted_in_the_mutation_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_mutation("create", "key", before="absent", after="ya29.a0AfH6SMBx")
    assert "ya29" not in caplog.text
    assert "ya29" not in str(caplog.records[0].__dict__)
