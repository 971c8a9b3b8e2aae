from io import StringIO

import pytest

from cloudrun_identity_playground.demo.screen import WIDTH, Screen, Style, align


@pytest.fixture
def stream() -> StringIO:
    return StringIO()


@pytest.fixture
def screen(stream: StringIO) -> Screen:
    return Screen(stream, live=False, colour=False)


def test_steps_are_numbered(screen: Screen, stream: StringIO) -> None:
    screen.step("Start")
    screen.step("Stop")

    assert stream.getvalue() == "\n1  Start\n\n2  Stop\n"


def test_a_paragraph_is_wrapped_at_the_width_between_words(screen: Screen, stream: StringIO) -> None:
    screen.paragraph("some-word " * 40)

    lines = stream.getvalue().splitlines()
    assert len(lines) > 1
    assert all(len(line) <= WIDTH for line in lines)
    assert " ".join(stream.getvalue().split()) == ("some-word " * 40).strip()


def test_lines_fit_a_narrow_terminal(stream: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    screen = Screen(stream, live=True, colour=False)

    screen.paragraph("some-word " * 40)
    screen.columns([["event", "word " * 40]])

    assert 50 < max(map(len, stream.getvalue().splitlines())) <= 60


def test_long_word_is_not_split(screen: Screen, stream: StringIO) -> None:
    screen.columns([["event", f"member {'x' * 200}"]])

    assert "x" * 200 in stream.getvalue()


def test_wrapped_last_column_is_indented(screen: Screen, stream: StringIO) -> None:
    screen.columns([["event", "word " * 40], ["drift", "none"]])

    first, second, *_, last = stream.getvalue().splitlines()
    assert first.startswith("   event  word")
    assert second.startswith("          word")
    assert last == "   drift  none"


def test_progress_without_terminal_prints_each_new_state(screen: Screen, stream: StringIO) -> None:
    screen.progress("1 of 2", "0.1 s")
    screen.progress("1 of 2", "0.2 s")
    screen.progress("2 of 2", "0.3 s")

    assert stream.getvalue() == "   0.1 s  1 of 2\n   0.3 s  2 of 2\n"


def test_progress_on_a_terminal_overwrites_its_line(stream: StringIO) -> None:
    screen = Screen(stream, live=True, colour=False)

    screen.progress("1 of 2", "0.1 s")
    screen.progress("1 of 2", "0.2 s")
    screen.line("done")

    assert stream.getvalue() == "\r\x1b[K   0.1 s  1 of 2\r\x1b[K   0.2 s  1 of 2\r\x1b[K   done\n"


def test_colors_are_used_only_if_enabled(stream: StringIO) -> None:
    assert Screen(stream, live=True, colour=True).style("good", Style.GOOD) == "\x1b[32mgood\x1b[0m"
    assert Screen(stream, live=True, colour=False).style("good", Style.GOOD) == "good"


def test_no_color_disables_colors_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in Screen.on(Terminal()).style("x", Style.BAD)
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen.on(Terminal()).style("x", Style.BAD) == "x"


def test_failure_prints_reason_and_evidence(screen: Screen, stream: StringIO) -> None:
    screen.failure("the operator ended", ["operator: boom"])

    assert stream.getvalue() == "\nFailed: the operator ended\n   operator: boom\n"


def test_all_cells_but_the_last_are_padded() -> None:
    assert align([["a", "b"], ["long", "c"]], gap=2) == [["a     ", "b"], ["long  ", "c"]]


def test_column_has_its_minimal_width() -> None:
    assert align([["a", "b"]], gap=3, minimum=6) == [["a     ", "b"]]
