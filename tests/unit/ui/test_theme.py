"""The colors of the web page. `tests/browser` measures their contrast in both themes."""

import re
from collections import Counter
from pathlib import Path

from cloudrun_identity import ui

CSS = Path(ui.__file__).parent / "static" / "css"


def test_each_color_is_declared_once_for_both_themes() -> None:
    theme = (CSS / "theme.css").read_text(encoding="utf-8")
    declared = Counter(re.findall(r"^\s*(--[\w-]+):", theme, flags=re.MULTILINE))
    assert {name for name, times in declared.items() if times > 1} == set()
    others = "".join(each.read_text(encoding="utf-8") for each in CSS.glob("*.css"))
    assert "prefers-color-scheme" not in others
    assert set(re.findall(r"var\((--[\w-]+)\)", others)) <= set(re.findall(r"(--[\w-]+):", others))
