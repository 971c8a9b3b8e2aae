"""Log lines: their fields, errors and levels."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import kopf
import pytest

from cloudrun_identity.manager import kopf_adapter, logs

logger = logging.getLogger("cloudrun_identity.manager.workers")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The log of this test. The configuration of pytest and other tests is restored."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    for name in (*logs.LIBRARY_LEVELS, *kopf_adapter.LOG_LEVELS):
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_record_is_one_line_of_json_with_extra_fields(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logger.info("two\nlines of %s", "text", extra={"object": "payments/checkout", "generation": 3})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "cloudrun_identity.manager.workers",
        "message": "two\nlines of text",
        "object": "payments/checkout",
        "generation": 3,
    }


def test_extra_field_does_not_replace_a_common_field(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logger.info("text", extra={"level": "none", "logger": "none"})
    assert lines(stream)[0]["level"] == "INFO"
    assert lines(stream)[0]["logger"] == "cloudrun_identity.manager.workers"


def test_value_unknown_to_json_is_written_as_text(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logger.info("text", extra={"kinds": {"IAMBinding"}})
    assert lines(stream)[0]["kinds"] == "{'IAMBinding'}"


def test_exception_is_one_line_with_its_location(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    try:
        raise KeyError("email")
    except KeyError:
        logger.exception("reconcile failed")
    (line,) = lines(stream)
    assert line["message"] == "reconcile failed"
    assert line["error"].startswith("KeyError: 'email' (test_logs.py:")
    assert "Traceback" not in stream.getvalue()


def test_traceback_is_one_field_at_debug(stream: io.StringIO) -> None:
    logs.configure(logging.DEBUG, stream)
    try:
        raise KeyError("email")
    except KeyError:
        logger.exception("reconcile failed")
    (line,) = lines(stream)
    assert line["traceback"].startswith("Traceback")


def test_location_of_an_exception_is_the_operators_innermost_line() -> None:
    record = logging.makeLogRecord({"msg": "%d", "args": ("no number",)})
    with pytest.raises(TypeError) as raised:
        logs.JsonFormatter().format(record)
    assert "(logs.py:" in logs.describe(raised.value)


def test_long_message_is_shortened_to_one_line() -> None:
    line = logs.describe(ValueError("many\n  words " * 1000))
    assert line.startswith("ValueError: many words many words")
    assert line.endswith("…")
    assert len(line) < 600


def test_exception_without_message_is_described_by_its_type() -> None:
    assert logs.describe(TimeoutError()) == "TimeoutError"


def test_exception_group_is_described_by_its_first_exception() -> None:
    inner = ExceptionGroup("inner", [ValueError("the reason"), KeyError("another")])
    assert logs.describe(ExceptionGroup("outer", [inner])) == "ValueError: the reason"


def test_libraries_log_only_warnings(stream: io.StringIO) -> None:
    logs.configure(stream=stream, library_levels={**logs.LIBRARY_LEVELS, **kopf_adapter.LOG_LEVELS})
    logging.getLogger("kopf.objects").info("Handler succeeded.")
    logging.getLogger("aiohttp.access").info("GET /healthz")
    logging.getLogger("kopf.objects").warning("Watching failed.", extra={"settings": kopf.OperatorSettings()})
    (line,) = lines(stream)
    assert line["message"] == "Watching failed."
    assert "settings" not in line


def test_level_above_warning_applies_to_libraries(stream: io.StringIO) -> None:
    logs.configure(logging.ERROR, stream)
    logging.getLogger("aiohttp.access").warning("Slow request.")
    assert lines(stream) == []


def test_libraries_log_everything_at_debug(stream: io.StringIO) -> None:
    logs.configure(logging.DEBUG, stream)
    logging.getLogger("kopf.objects").debug("Handler succeeded.")
    assert lines(stream)[0]["message"] == "Handler succeeded."


def test_python_warning_is_logged(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    warnings.warn("deprecated soon", DeprecationWarning, stacklevel=1)
    assert "deprecated soon" in lines(stream)[0]["message"]


def test_text_format_is_one_line_with_named_fields(stream: io.StringIO) -> None:
    logs.configure(stream=stream, log_format=logs.LogFormat.TEXT)
    logger.warning("two\nlines", extra={"object": "payments/checkout", "generation": 3})
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.rstrip().partition(" ")[2] == (
        'WARNING cloudrun_identity.manager.workers: two lines object="payments/checkout" generation=3'
    )


def test_text_format_has_errors_and_at_debug_tracebacks(stream: io.StringIO) -> None:
    logs.configure(logging.DEBUG, stream, log_format=logs.LogFormat.TEXT)
    try:
        raise ValueError("no such thing")
    except ValueError:
        logger.exception("failed")
    first, second, *_ = stream.getvalue().splitlines()
    assert 'error="ValueError: no such thing' in first
    assert second.startswith("Traceback")
