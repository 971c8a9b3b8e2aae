"""Command lines in the documentation, for tests that parse or run them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.documented import ROOT

PAGES = (
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("examples/**/README.md")),
    ROOT / "playground" / "README.md",
)
_OPERATORS = frozenset({"|", "||", "&&", ";", ";;", "&", "&;", "(", ")", ">", ">>", "<", "<<", "2>", "2>&1"})
_SHELL = frozenset({"do", "then", "else", "if", "while", "!", "{", "sudo", "env"})


@dataclass(frozen=True)
class Documented:
    """A command line on a page."""

    page: str
    """Path of the page in the repository."""
    line: int
    """Line of the page."""
    arguments: tuple[str, ...]
    """Arguments of the program."""
    is_complete: bool
    """False for one in a sentence, which may leave out required arguments."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each block of shell commands on a page."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^( *)```(?:sh|console|bash)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE):
        yield text[: block.start(2)].count("\n") + 1, block[2]


def documented_commands(page: Path, program: str) -> Iterator[Documented]:
    """Yield the command lines of a program on a page."""
    name = str(page.relative_to(ROOT))
    prose = page.read_text(encoding="utf-8")
    for first, block in blocks(page):
        prose = prose.replace(block, "\n" * block.count("\n"))
        is_console = re.search(r"^ *\$ ", block, re.MULTILINE) is not None
        for offset, line in _lines(block):
            if not is_console or line.startswith("$ "):
                for arguments in _calls(line.removeprefix("$ "), program):
                    yield Documented(name, first + offset, arguments, is_complete=True)
    for code in re.finditer(rf"`((?:kubectl )?{program} [^`\n]+)`", prose):
        for arguments in _calls(code[1], program):
            yield Documented(name, prose[: code.start()].count("\n") + 1, arguments, is_complete=False)


def _lines(block: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of a block with their offset, in one line each, without the text of `<<'EOF'`."""
    joined, start, end = "", 0, ""
    for offset, line in enumerate(block.splitlines()):
        if end:
            end = "" if line.strip() == end else end
            continue
        start = offset if not joined else start
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            if here := re.search(r"<<'?(\w+)'?", joined):
                end = here[1]
            yield start, joined.strip()
            joined = ""


def _calls(line: str, program: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each call of the program in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        words = line.split()
    wrappers = {"kubectl", "uvx", "pipx"} - {program}
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            command.append(word)
            continue
        while command and (
            re.fullmatch(r"\w+=.*", command[0]) or command[0] in wrappers or command[0] in _SHELL
        ):
            command.pop(0)
        if command and Path(command[0]).name == program:
            yield tuple(command[1:])
        command = []
