"""The language check reads prose only, and reports each banned word where it is."""

from pathlib import Path

import pytest

from tools.check_language import Finding, check_file, load_rules, main

RULES = load_rules()


def _findings(folder: Path, name: str, source: str) -> list[tuple[int, str]]:
    path = folder / name
    path.write_text(source, encoding="utf-8")
    return [(finding.line, finding.word) for finding in check_file(path, RULES)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('"""Return it, lest it fails."""\n', [(1, "lest")], id="docstring"),
        pytest.param("x = 1  # put right\n", [(1, "put right")], id="comment"),
        pytest.param("x = 'The role is gone'\n", [(1, "gone")], id="message"),
        pytest.param("x = f'{name} is gone, {who}'\n", [(1, "gone")], id="formatted message"),
        pytest.param("# It is to\n# be so.\n", [(1, "is to be")], id="across comment lines"),
        pytest.param('"""Short.\n\nIt is to\nbe so.\n"""\n', [(3, "is to be")], id="across docstring lines"),
        pytest.param("x = (\n    'it is to '\n    'be so'\n)\n", [(2, "is to be")], id="across literals"),
    ],
)
def test_banned_words_are_found_in_python_prose(
    tmp_path: Path, source: str, expected: list[tuple[int, str]]
) -> None:
    assert _findings(tmp_path, "module.py", source) == expected


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("gone = lest + 1\n", id="identifiers"),
        pytest.param("x = 'gone'\n", id="literals of one word"),
        pytest.param("# Google answers “The account is gone”.\n", id="curly quotation marks"),
        pytest.param("# The state is `is gone`.\n", id="inline code"),
        pytest.param("x = 'The account is gone'  # language: quoted\n", id="marked lines"),
        pytest.param("# It stands for a project, and answers 410 Gone.\n", id="legitimate uses"),
        pytest.param("# The planes crest.\n", id="parts of words"),
    ],
)
def test_code_quotations_and_legitimate_uses_are_ignored(tmp_path: Path, source: str) -> None:
    assert _findings(tmp_path, "module.py", source) == []


@pytest.mark.parametrize("word", ["What", "Whose", "Those", "Whether", "When", "Which"])
def test_docstrings_must_not_start_with_a_relative_clause(tmp_path: Path, word: str) -> None:
    source = f'class Grant:\n    """{word} holds it."""\n\n    role: str\n    """{word} it is."""\n'
    assert _findings(tmp_path, "module.py", source) == [(2, word), (5, word)]


def test_docstrings_that_name_the_result_are_accepted(tmp_path: Path) -> None:
    source = 'def f():\n    """Return whether the grant exists."""\n    return "What a message"\n'
    assert _findings(tmp_path, "module.py", source) == []


def test_markdown_is_checked_outside_code_and_link_targets(tmp_path: Path) -> None:
    source = "# At night\n\n```sh\nlest\n```\n\nSee `lest` and [it](lest.md), or\nlest it\n\n~~~\nanew\n~~~\n"
    assert _findings(tmp_path, "page.md", source) == [(1, "At night"), (8, "lest")]


def test_comments_in_code_blocks_of_markdown_are_checked(tmp_path: Path) -> None:
    source = "```sh\n# It is\n# to be so.\nlest --it be  # lest it fails\n```\n"
    assert sorted(_findings(tmp_path, "page.md", source)) == [(2, "is to be"), (4, "lest")]


def test_yaml_comments_and_values_are_checked_but_keys_are_not(tmp_path: Path) -> None:
    source = "# It is\n# to be so.\nforeign: true\ndescription: The role\n  is gone\nlist:\n  - lest it be\n"
    assert sorted(_findings(tmp_path, "values.yaml", source)) == [(1, "is to be"), (5, "gone"), (7, "lest")]


def test_template_code_is_not_checked(tmp_path: Path) -> None:
    source = "Hello {{ .Values.gone }}, it exists.\n{{- /* it is gone */}}\n"
    assert _findings(tmp_path, "NOTES.txt", source) == [(2, "gone")]


def test_command_prints_file_line_word_and_advice_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Fine.\n\nIt starts anew.\n", encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [str(Finding(page, 3, "anew", "again"))]


def test_command_exits_0_without_findings(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("It starts again.\n", encoding="utf-8")
    assert main([str(tmp_path)]) == 0


def test_command_refuses_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="does not exist"):
        main([str(tmp_path / "missing")])
