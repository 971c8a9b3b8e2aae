"""The Dockerfile parser reads what the repository uses, and refuses everything else."""

from pathlib import Path, PurePosixPath

import pytest

from tools.dockerfile import (
    Copy,
    Instruction,
    UnsupportedError,
    copy,
    expand,
    healthcheck,
    ignore_patterns,
    is_ignored,
    pairs,
    parse,
)

ROOT = Path(__file__).parents[3]


def test_stages_keep_their_instructions_in_order() -> None:
    parsed = parse("# base\nARG BASE=a\nFROM ${BASE} AS build\nRUN x \\\n  # why\n  && y\nFROM b\nUSER 1:1\n")
    assert [each.value for each in parsed.arguments] == ["BASE=a"]
    assert [(stage.base, stage.name) for stage in parsed.stages] == [("${BASE}", "build"), ("b", "")]
    assert parsed.stages[0].instructions == (Instruction("RUN", "x && y", 4),)


@pytest.mark.parametrize("text", ["ADD x y", "FROM a b c", "RUN x", "FROM a\nSHELL []", "FROM a\nrun x"])
def test_unknown_instructions_are_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match=r"^line "):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A/x", "1/x"),
        ("${A}x", "1x"),
        ("${A}${B:+@$B}", "1"),
        ("python${A:+@$A}", "python@1"),
        ("${B:-$A}", "1"),
        ("${A:-2}", "1"),
        ("$UNSET", ""),
    ],
)
def test_variables_are_replaced_as_docker_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": ""}) == expanded


def test_environment_and_labels_may_be_quoted() -> None:
    assert pairs(Instruction("LABEL", 'a="x y" b=$A', 1), {"A": "1"}) == {"a": "x y", "b": "1"}
    with pytest.raises(UnsupportedError, match="line 1"):
        pairs(Instruction("ENV", "a b", 1), {})


def test_copy_names_its_stage_and_its_destination() -> None:
    assert copy(Instruction("COPY", "--from=build /a /b", 1)) == Copy(("/a",), "/b", "build")
    several = copy(Instruction("COPY", "a b ./", 1))
    assert several.sources == ("a", "b")
    assert several.into_directory
    with pytest.raises(UnsupportedError, match="line 1"):
        copy(Instruction("COPY", "--chown=1 a b", 1))


def test_health_check_is_a_list_of_words() -> None:
    assert healthcheck(Instruction("HEALTHCHECK", '--interval=1s CMD ["a", "b"]', 1)) == ["a", "b"]
    with pytest.raises(UnsupportedError, match="JSON array"):
        healthcheck(Instruction("HEALTHCHECK", "CMD a b", 1))


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("pyproject.toml", False),
        ("requirements/image.txt", False),
        ("operator/cloudrun_identity/api/crd.py", False),
        ("operator/cloudrun_identity/api/__pycache__/crd.pyc", True),
        ("operator/other", True),
        ("playground/pyproject.toml", True),
        (".git/config", True),
    ],
)
def test_build_context_contains_only_what_the_build_takes(path: str, ignored: bool) -> None:
    patterns = ignore_patterns((ROOT / ".dockerignore").read_text(encoding="utf-8"))
    assert is_ignored(PurePosixPath(path), patterns) is ignored


def test_dockerfile_of_the_repository_is_supported() -> None:
    parsed = parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    base = expand(parsed.stages[-1].base, {"BASE": "python:3.11-slim", "BASE_DIGEST": "sha256:0"})
    assert base == "python:3.11-slim@sha256:0"
    assert {stage.base for stage in parsed.stages} == {parsed.stages[0].base}
