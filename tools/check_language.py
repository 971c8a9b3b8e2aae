"""Report banned words and misleading docstring starts. Usage: `python tools/check_language.py PATH...`.

The word list is `banned_words.txt` beside this file. The script reads prose only:

- Python: docstrings, comments and string literals of more than one word
- YAML, JSON, templates: comments and values
- Markdown: everything but inline code and link targets; of code blocks, the comments

Inline code, text in “…”, and lines that bear the comment `language: quoted` are not checked.
"""

import argparse
import io
import re
import sys
import tokenize
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

WORDS = Path(__file__).with_name("banned_words.txt")
MARKER = "language: quoted"
PYTHON, MARKDOWN = {".py"}, {".md"}
STRUCTURED = {".yaml", ".yml", ".json", ".txt", ".tpl", ".toml", ".lua"}
SKIPPED_FOLDERS = {"__pycache__", ".venv", "build", "dist", "node_modules"}
CLAUSES = re.compile(r"(?:What|Whose|Who|Whom|Those|Whether|Why|How|When|Where|Which|That)\b")
CLAUSE_ADVICE = 'start with a verb or a noun: "Return …", "Return whether …", "True if …", "Time of …"'


@dataclass(frozen=True)
class Rule:
    """One entry of the word list."""

    pattern: re.Pattern[str]
    advice: str


@dataclass(frozen=True, order=True)
class Finding:
    """One banned word in one file."""

    path: Path
    line: int
    word: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} → {self.advice}"


@dataclass
class Prose:
    """A text of consecutive lines that a reader reads as one, so that a match may span a line break."""

    is_docstring: bool = False
    text: str = ""
    _starts: list[int] = field(default_factory=list)
    _lines: list[int] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """Append the text of a source line."""
        self.text += " " if self.text else ""
        self._starts.append(len(self.text))
        self._lines.append(line)
        self.text += " ".join(text.split())

    def line_at(self, offset: int) -> int:
        """Return the source line of a position in the text."""
        return self._lines[bisect_right(self._starts, offset) - 1]


def load_rules(path: Path = WORDS) -> list[Rule]:
    """Read the word list: `pattern => advice` per line, `#` starts a comment line."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    entries = (line.partition("=>") for line in lines if line and not line.startswith("#"))
    return [_rule(pattern.strip(), advice.strip()) for pattern, _, advice in entries]


def _rule(pattern: str, advice: str) -> Rule:
    return Rule(re.compile(rf"(?<![\w`-])(?:{pattern})(?![\w-])", re.IGNORECASE), advice)


def check_file(path: Path, rules: list[Rule]) -> Iterator[Finding]:
    """Yield the findings of one file."""
    source = path.read_text(encoding="utf-8")
    for prose in _prose(path.suffix, source):
        text = _without_quotations(prose.text)
        clause = CLAUSES.match(text) if prose.is_docstring else None
        if clause:
            yield Finding(path, prose.line_at(0), clause.group(), CLAUSE_ADVICE)
        for rule in rules:
            for match in rule.pattern.finditer(text, clause.end() if clause else 0):
                yield Finding(path, prose.line_at(match.start()), match.group(), rule.advice)


def _without_quotations(text: str) -> str:
    """Blank out inline code and “…”, and keep every position."""
    return re.sub(r"(`+).+?\1|“[^”]*”", lambda quoted: "·" * len(quoted.group()), text)


def _prose(suffix: str, source: str) -> Iterable[Prose]:
    if suffix in PYTHON:
        return _python_prose(source)
    if suffix in MARKDOWN:
        return _markdown_prose(source)
    return _structured_prose(source)


def _python_prose(source: str) -> Iterator[Prose]:
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    quoted = {number for number, line in enumerate(source.splitlines(), 1) if MARKER in line}
    yield from _comments(tokens, quoted)
    yield from _literals(tokens, quoted)


def _comments(tokens: list[tokenize.TokenInfo], quoted: set[int]) -> Iterator[Prose]:
    """Yield comments; those on consecutive lines are one text."""
    prose, previous_line = Prose(), 0
    for token in tokens:
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != previous_line + 1:
                yield prose
                prose = Prose()
            if line not in quoted:
                prose.add(line, token.string.lstrip("#: "))
            previous_line = line
    yield prose


def _literals(tokens: list[tokenize.TokenInfo], quoted: set[int]) -> Iterator[Prose]:
    """Yield docstrings and literals of more than one word; adjacent literals are one text."""
    prose = Prose()
    at_statement_start, depth = True, 0
    for token in tokens:
        name = tokenize.tok_name[token.type]
        if name in ("COMMENT", "NL"):
            continue
        if name in ("STRING", "FSTRING_MIDDLE"):
            prose.is_docstring |= at_statement_start
            for number, text in enumerate(_literal_text(name, token.string).split("\n"), token.start[0]):
                if not quoted & {number, token.end[0]}:
                    prose.add(number, text)
        depth += (name == "FSTRING_START") - (name == "FSTRING_END")
        if not depth and name not in ("STRING", "FSTRING_END"):
            if " " in prose.text:
                yield prose
            prose = Prose()
        at_statement_start = name in ("NEWLINE", "INDENT", "DEDENT", "ENCODING")


def _literal_text(name: str, token: str) -> str:
    if name == "FSTRING_MIDDLE":
        return token
    prefix, quote, text = re.match(r'(?s)(\w*)("""|\'\'\'|"|\')(.*)', token).groups()  # type: ignore[union-attr]
    text = text[: -len(quote)]
    return re.sub(r"\{[^{}\n]*\}", "{}", text) if "f" in prefix.lower() else text


def _markdown_prose(source: str) -> Iterator[Prose]:
    """Yield paragraphs, and comments in blocks of code; those on consecutive lines are one text."""
    prose, fence = Prose(), ""
    for number, line in enumerate(source.splitlines(), 1):
        mark = re.match(r"\s*(`{3,}|~{3,})", line)
        if mark and (not fence or line.strip() == fence):
            fence = "" if fence else mark.group(1)
        comment = re.search(r"(?:^|\s)#\s+(.*)", line) if fence and not mark else None
        if not line.strip() or mark or (fence and not comment):
            yield prose
            prose = Prose()
        elif MARKER not in line:
            prose.add(number, comment.group(1) if comment else re.sub(r"\]\([^)]*\)", "]", line))
    yield prose


def _structured_prose(source: str) -> Iterator[Prose]:
    """Read YAML, JSON and templates line by line: a key or a list item starts a new text."""
    prose = Prose()
    was_comment = False
    for number, line in enumerate(source.splitlines(), 1):
        comment = re.search(r"(?:^|\s)(?:#|--|\{\{-? ?/\*)\s*(.*)", line)
        text = comment.group(1) if comment else re.sub(r"\{\{.*?\}\}", "{}", line)
        key = None if comment else re.match(r'\s*(?:- )*(?:"?[\w.$/-]+"?:(?:\s|$)|- )', line)
        if not line.strip() or key or was_comment != bool(comment):
            if " " in prose.text:
                yield prose
            prose = Prose()
        if MARKER not in line:
            prose.add(number, text[key.end() :] if key and not comment else text)
        was_comment = bool(comment)
    if " " in prose.text:
        yield prose


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files to check: each named file, and the files of known types in each named folder."""
    for path in paths:
        if path.is_file():
            yield path
        elif not path.is_dir():
            raise SystemExit(f"{path} does not exist")
        else:
            yield from sorted(
                found
                for found in path.rglob("*")
                if found.suffix in PYTHON | MARKDOWN | STRUCTURED
                and found.is_file()
                and found.resolve() != WORDS
                and not SKIPPED_FOLDERS & set(found.parts)
            )


def main(arguments: list[str] | None = None) -> int:
    """Print the findings, and return 1 if there are any."""
    parser = argparse.ArgumentParser(description="Report banned words in prose.")
    parser.add_argument("paths", nargs="+", type=Path, help="files and folders to check")
    paths = parser.parse_args(arguments).paths
    rules = load_rules()
    findings = sorted({finding for path in files_of(paths) for finding in check_file(path, rules)})
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} findings. CONTRIBUTING.md explains the rules.", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
