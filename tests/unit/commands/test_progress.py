"""Progress on standard error."""

import pytest

from cloudrun_identity.commands.progress import Progress


def test_progress_is_shown_after_two_seconds_and_not_more_often(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1.9, 2.0, 2.0, 3.9, 4.1, 4.1])
    progress = Progress(lambda: next(times))
    for done in range(4):
        progress.reconciled(done, 9)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "planning: 1 of 9 objects\nplanning: 3 of 9 objects\n"
