"""The lines of the log."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import kopf
import pytest

from cloudrun_identity.manager import logs

ours = logging.getLogger("cloudrun_identity.manager.workers")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The log of this test; what pytest and other tests configured is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    for name in logs.QUIET_BELOW:
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_of_json_with_its_extra_fields(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    ours.info("two\nlines of %s", "text", extra={"object": "payments/checkout", "generation": 3})
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "cloudrun_identity.manager.workers",
        "message": "two\nlines of text",
        "object": "payments/checkout",
        "generation": 3,
    }


def test_an_extra_field_does_not_replace_a_standard_one(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    ours.info("text", extra={"level": "none", "logger": "none"})
    assert lines(stream)[0]["level"] == "INFO"
    assert lines(stream)[0]["logger"] == "cloudrun_identity.manager.workers"


def test_a_value_that_json_does_not_know_is_written_as_text(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    ours.info("text", extra={"kinds": {"IAMBinding"}})
    assert lines(stream)[0]["kinds"] == "{'IAMBinding'}"


def test_an_exception_is_one_line_with_its_place_and_no_traceback(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    try:
        raise KeyError("email")
    except KeyError:
        ours.exception("pass failed")
    (line,) = lines(stream)
    assert line["message"] == "pass failed"
    assert line["error"].startswith("KeyError: 'email' (test_logs.py:")
    assert "Traceback" not in stream.getvalue()


def test_a_traceback_is_one_field_at_debug(stream: io.StringIO) -> None:
    logs.configure(logging.DEBUG, stream)
    try:
        raise KeyError("email")
    except KeyError:
        ours.exception("pass failed")
    (line,) = lines(stream)
    assert line["traceback"].startswith("Traceback")


def test_the_place_of_an_exception_is_our_innermost_line() -> None:
    record = logging.makeLogRecord({"msg": "%d", "args": ("no number",)})
    with pytest.raises(TypeError) as raised_by_the_library:
        logs.JsonFormatter().format(record)
    assert "(logs.py:" in logs.describe(raised_by_the_library.value)


def test_the_message_of_an_exception_is_one_bounded_line() -> None:
    told = logs.describe(ValueError("many\n  words " * 1000))
    assert told.startswith("ValueError: many words many words")
    assert told.endswith("…")
    assert len(told) < 600


def test_an_exception_without_a_message_is_told_by_its_type() -> None:
    assert logs.describe(TimeoutError()) == "TimeoutError"


def test_of_a_group_the_exception_inside_is_told() -> None:
    inner = ExceptionGroup("inner", [ValueError("the reason"), KeyError("another")])
    assert logs.describe(ExceptionGroup("outer", [inner])) == "ValueError: the reason"


def test_libraries_are_quiet_unless_they_warn(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    logging.getLogger("kopf.objects").info("Handler succeeded.")
    logging.getLogger("aiohttp.access").info("GET /healthz")
    logging.getLogger("kopf.objects").warning("Watching failed.", extra={"settings": kopf.OperatorSettings()})
    (line,) = lines(stream)
    assert line["message"] == "Watching failed."
    assert "settings" not in line


def test_a_level_above_warning_holds_for_libraries_too(stream: io.StringIO) -> None:
    logs.configure(logging.ERROR, stream)
    logging.getLogger("kopf.objects").warning("Watching failed.")
    assert lines(stream) == []


def test_libraries_speak_at_debug(stream: io.StringIO) -> None:
    logs.configure(logging.DEBUG, stream)
    logging.getLogger("kopf.objects").debug("Handler succeeded.")
    assert lines(stream)[0]["message"] == "Handler succeeded."


def test_a_warning_of_python_is_a_line_too(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    warnings.warn("going away", DeprecationWarning, stacklevel=1)
    assert "going away" in lines(stream)[0]["message"]
