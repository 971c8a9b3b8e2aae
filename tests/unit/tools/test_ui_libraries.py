"""The libraries of the web page are those of the list, with their licenses."""

import re

from tools.ui_libraries import LIBRARIES, VENDOR


def test_every_vendored_file_is_of_a_listed_library() -> None:
    listed = {name for library in LIBRARIES for _, name in library.files}
    licenses = {library.license_file for library in LIBRARIES}
    assert {path.name for path in VENDOR.iterdir()} == listed | licenses


def test_libraries_import_files_beside_them_only() -> None:
    for path in VENDOR.glob("*.mjs"):
        for name in re.findall(r'(?:from|import)\s*"([^"]+)"', path.read_text("utf-8")):
            assert (VENDOR / name).is_file(), (path.name, name)
