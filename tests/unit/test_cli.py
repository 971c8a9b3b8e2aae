"""The command line: options, their environment, and errors of one line."""

import contextlib
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from cloudrun_identity import __version__, cli, handlers
from cloudrun_identity.api import KINDS
from cloudrun_identity.gcp import libraries
from cloudrun_identity.kube.errors import KubeError
from cloudrun_identity.manager import logs, process


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner(env={"CLOUDRUN_IDENTITY_RUN_KUBECONFIG": None})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[process.Settings]:
    """The settings of each start of the process, which is replaced, in an empty directory."""
    started: list[process.Settings] = []
    monkeypatch.chdir(tmp_path)

    async def run(settings: process.Settings, watch: object, page: object = None) -> None:
        assert watch is handlers.watch
        started.append(settings)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    monkeypatch.setattr("cloudrun_identity.kube.connection.pod_namespace", lambda: None)
    return started


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    yield
    logging.captureWarnings(False)


def run(runner: CliRunner, *arguments: str, **environment: str) -> Result:
    return runner.invoke(cli.cli, ["run", *arguments], env=environment)


def error_line(result: Result) -> str:
    """Return the only line of an error."""
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    (line,) = result.output.strip().splitlines()
    return line


def test_every_option_has_a_default(runner: CliRunner, started: list[process.Settings]) -> None:
    assert run(runner).exit_code == 0
    assert started == [process.Settings(None, None, None, "cloudrun-identity", 15.0, 8080, 16)]


@pytest.mark.parametrize(
    ("arguments", "variable", "served"), [((), "", False), (("--ui",), "", True), ((), "true", True)]
)
def test_web_page_is_served_on_request_only(
    runner: CliRunner,
    monkeypatch: pytest.MonkeyPatch,
    started: list[process.Settings],
    arguments: tuple[str, ...],
    variable: str,
    served: bool,
) -> None:
    pages: list[object] = []

    async def run_process(settings: process.Settings, watch: object, page: object) -> None:
        pages.append(page)

    monkeypatch.setattr(process, "run", run_process)
    assert run(runner, *arguments, CLOUDRUN_IDENTITY_RUN_UI=variable).exit_code == 0
    assert [page is not None for page in pages] == [served]


def test_token_file_requires_an_endpoint(
    runner: CliRunner, started: list[process.Settings], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    assert run(runner, "--google-endpoint=127.0.0.1:9", f"--google-token-file={token}").exit_code == 0
    assert [each.google_token_file for each in started] == [token]
    refused = run(runner, f"--google-token-file={token}")
    assert refused.exit_code == 2
    assert "--google-endpoint" in error_line(refused)


@pytest.mark.parametrize(
    ("option", "variable", "value", "field", "expected"),
    [
        ("--kubeconfig", "KUBECONFIG", "config", "kubeconfig", "config"),
        ("--google-endpoint", "GOOGLE_ENDPOINT", "127.0.0.1:9", "google_endpoint", "127.0.0.1:9"),
        ("--operator-namespace", "OPERATOR_NAMESPACE", "ops", "namespace", "ops"),
        ("--lease-duration", "LEASE_DURATION", "1m30s", "lease_duration", 90.0),
        ("--http-port", "HTTP_PORT", "0", "http_port", 0),
        ("--concurrency", "CONCURRENCY", "4", "concurrency", 4),
    ],
)
def test_every_option_is_read_from_the_environment(
    runner: CliRunner,
    started: list[process.Settings],
    option: str,
    variable: str,
    value: str,
    field: str,
    expected: object,
) -> None:
    assert run(runner, option, value).exit_code == 0
    assert run(runner, **{f"CLOUDRUN_IDENTITY_RUN_{variable}": value}).exit_code == 0
    assert [getattr(settings, field) for settings in started] == [expected, expected]


def test_log_options_set_the_level_and_the_format(
    runner: CliRunner, started: list[process.Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured: list[dict[str, object]] = []
    monkeypatch.setattr(logs, "configure", lambda **options: configured.append(options))
    run(runner)
    run(runner, "--log-level=debug", "--log-format=text")
    assert [(each["level"], each["log_format"]) for each in configured] == [
        (logging.INFO, logs.LogFormat.JSON),
        (logging.DEBUG, logs.LogFormat.TEXT),
    ]


def test_option_overrides_its_environment_variable(
    runner: CliRunner, started: list[process.Settings]
) -> None:
    run(runner, "--http-port", "1", CLOUDRUN_IDENTITY_RUN_HTTP_PORT="2")
    assert started[0].http_port == 1


def test_namespace_of_the_pod_overrides_the_default(
    runner: CliRunner, started: list[process.Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudrun_identity.kube.connection.pod_namespace", lambda: "pods")
    run(runner)
    run(runner, "--operator-namespace", "ops")
    assert [settings.namespace for settings in started] == ["pods", "ops"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lease-duration", "soon"], "soon"),
        (["--lease-duration", "500ms"], "must be at least 1s"),
        (["--http-port", "65536"], "65536"),
        (["--concurrency", "0"], "0"),
        (["--http-port", "http"], "http"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_invalid_option_is_named_with_its_value(
    runner: CliRunner, started: list[process.Settings], arguments: list[str], complaint: str
) -> None:
    line = error_line(run(runner, *arguments))
    assert complaint in line
    assert arguments[0] in line
    assert started == []


@pytest.mark.parametrize("failure", process.FAILURES, ids=lambda failure: failure.__name__)
def test_failure_of_the_process_is_an_error_of_one_line(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    async def fail(*_: Any) -> None:
        raise failure(*(("503", "Unavailable") if failure is KubeError else ()), "it cannot go on")

    monkeypatch.setattr(process, "run", fail)
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    result = run(runner)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "it cannot go on" in error_line(result)
    assert len(result.output.strip().splitlines()) == 1


def test_crds_of_all_kinds_are_printed(runner: CliRunner) -> None:
    result = runner.invoke(cli.cli, ["crds"])
    documents = list(yaml.safe_load_all(result.output))
    assert [each["spec"]["names"]["kind"] for each in documents] == list(KINDS)


def test_crds_are_written_to_one_file_per_kind(runner: CliRunner, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    result = runner.invoke(cli.cli, ["crds", "--output", str(directory)])
    assert result.exit_code == 0
    written = sorted(directory.iterdir())
    assert len(written) == len(KINDS)
    assert sorted(result.output.splitlines()) == [str(path) for path in written]


def test_directory_that_cannot_be_created_is_named(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = error_line(runner.invoke(cli.cli, ["crds", "--output", str(tmp_path / "file" / "sub")]))
    assert "--output" in line
    assert str(tmp_path / "file" / "sub") in line


def test_commands_of_the_playground_are_listed(runner: CliRunner) -> None:
    output = runner.invoke(cli.cli, ["--help"]).output
    for command in ("crds", "demo", "emulator", "kubeapi", "run"):
        assert f"  {command}" in output


def imported_by(script: str) -> set[str]:
    """Return the names of the modules that a new process has imported at its end."""
    report = "import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))"
    ended = subprocess.run([sys.executable, "-c", f"{report}; {script}"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.split())


@pytest.mark.parametrize("arguments", ["--help", "--version", "run --help", "plan --help"])
def test_help_imports_neither_the_playground_nor_slow_packages(arguments: str) -> None:
    imported = imported_by(
        f"import sys; from cloudrun_identity.cli import main; sys.argv[1:] = {arguments.split()}; main()"
    )
    assert "cloudrun_identity.cli" in imported
    slow = {"cloudrun_identity_playground", "kopf", "google", "grpc", "kubernetes", "pydantic", "aiohttp"}
    assert {name for name in imported if name.partition(".")[0] in slow} == set()


def test_run_imports_what_it_needs_to_take_the_lease() -> None:
    """Google's client libraries, the generator of the CRDs and other commands would double the time."""
    imported = imported_by(
        "from cloudrun_identity import handlers; from cloudrun_identity.manager import kopf_adapter, logs, "
        "process, registry; from cloudrun_identity.gcp.client_pool import ClientPool; "
        "registry.Cloud.of(ClientPool(None, None))"
    )
    assert "cloudrun_identity.manager.factory" in imported
    needless = ("api.crd", "commands", "converting", "exporting", "linting", "plan")
    prefixes = ("google.cloud.", "cloudrun_identity_playground")
    assert {name for name in imported if name.startswith(prefixes)} <= LIBRARIES
    assert {f"cloudrun_identity.{name}" for name in needless} & imported == set()


LIBRARIES = {f"google.cloud.{name}" for name in libraries.__all__}
"""Modules that are registered, and execute when they are first used."""


@pytest.mark.parametrize("name", cli.PLAYGROUND_COMMANDS)
def test_listed_help_begins_like_the_help_of_the_command(runner: CliRunner, name: str) -> None:
    listed = cli.PLAYGROUND_COMMANDS[name].removesuffix(".")
    assert listed in " ".join(runner.invoke(cli.cli, [name, "--help"]).output.split())


def test_command_with_a_missing_dependency_names_the_extra(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        name = "demo"

        def load(self) -> object:
            raise ModuleNotFoundError("No module named 'jsonpatch'", name="jsonpatch")

    monkeypatch.setattr(cli, "entry_points", lambda **_: [Absent()])
    result = runner.invoke(cli.cli, ["demo", "--port", "1", "anything"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: demo needs jsonpatch, which is not installed: pip install 'cloudrun-identity[playground]'\n"
    )


def test_command_of_the_missing_playground_names_the_extra(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda **_: [])
    listed = runner.invoke(cli.cli, ["--help"], terminal_width=200).output
    assert f"  demo         {cli.PLAYGROUND_COMMANDS['demo']} (needs the extra `playground`)\n" in listed
    result = runner.invoke(cli.cli, ["demo"])
    assert result.exit_code == 1
    assert result.output == (
        "Error: demo needs the playground, which is not installed: "
        "pip install 'cloudrun-identity[playground]'\n"
    )


def test_unknown_command_is_an_error_of_one_line(runner: CliRunner) -> None:
    assert "No such command 'nope'" in error_line(runner.invoke(cli.cli, ["nope"]))


def test_version_is_printed(runner: CliRunner) -> None:
    assert runner.invoke(cli.cli, ["--version"]).output == f"cloudrun-identity, version {__version__}\n"


def test_bug_is_an_error_of_one_line_with_its_location(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise LookupError("two\nlines")

    monkeypatch.setattr("cloudrun_identity.api.crd.render", broken)
    result = runner.invoke(cli.cli, ["crds"])
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: unexpected LookupError: two lines \(crds.py:\d+\)", error_line(result))


@pytest.mark.parametrize(("command", "misuse"), [("plan --filename=.", 1), ("export --project=shop-1234", 2)])
def test_commands_that_call_google_read_the_token_file(
    runner: CliRunner, tmp_path: Path, command: str, misuse: int
) -> None:
    (tmp_path / "shop.yaml").write_text(
        "{apiVersion: cloudrun-identity.dev/v1alpha1, kind: ManagedProject, "
        "metadata: {name: shop-1234}, spec: {}}"
    )
    (tmp_path / "token").write_bytes(b"\xff")
    with contextlib.chdir(tmp_path):
        refused = runner.invoke(cli.cli, [*command.split(), "--google-token-file=token"])
        useless = runner.invoke(
            cli.cli, [*command.split(), "--google-token-file=token", "--google-endpoint=127.0.0.1:9"]
        )
    assert refused.exit_code == misuse
    assert "--google-endpoint" in error_line(refused)
    assert "the token file token is not UTF-8 text" in error_line(useless)


def test_closed_pipe_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise BrokenPipeError

    redirected: list[tuple[int, int]] = []
    monkeypatch.setattr(cli, "cli", broken)
    monkeypatch.setattr("os.dup2", lambda *fds: redirected.append(fds))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert len(redirected) == 1
    assert capfd.readouterr().err == ""


def all_commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group below a group, without those of other packages."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, *path, name)


@pytest.mark.parametrize("words", list(all_commands(cli.cli)), ids=" ".join)
def test_help_of_every_command_has_examples(runner: CliRunner, words: tuple[str, ...]) -> None:
    result = runner.invoke(cli.cli, [*words, "-h"])
    assert result.exit_code == 0
    _, _, listed = result.output.partition("Examples:\n")
    assert listed, result.output
    assert all(re.search("cloudrun-identity|^ +#|gcloud", line) for line in listed.splitlines() if line)


def test_list_of_commands_describes_each_in_full(runner: CliRunner) -> None:
    _, _, listed = runner.invoke(cli.cli, ["-h"], terminal_width=80).output.partition("Commands:\n")
    assert [line for line in listed.splitlines() if not line.endswith(".")] == []
    assert "..." not in listed


@pytest.mark.parametrize("words", list(all_commands(cli.cli)), ids=" ".join)
def test_wrong_option_does_not_end_with_the_exit_code_of_a_result(
    runner: CliRunner, words: tuple[str, ...]
) -> None:
    text = " ".join(runner.invoke(cli.cli, [*words, "-h"]).output.split())
    is_result = re.search(r"Exit codes:[^.]*\b2 if\b", text) is not None
    assert runner.invoke(cli.cli, [*words, "--nonsense"]).exit_code == (1 if is_result else 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(runner: CliRunner, shell: str) -> None:
    """docs/reference/cli.md documents this protocol of click."""
    source = runner.invoke(
        cli.cli, prog_name="cloudrun-identity", env={"_CLOUDRUN_IDENTITY_COMPLETE": f"{shell}_source"}
    )
    assert "cloudrun-identity" in source.output
    completed = runner.invoke(
        cli.cli,
        prog_name="cloudrun-identity",
        env={
            "_CLOUDRUN_IDENTITY_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": "cloudrun-identity sta",
            "COMP_CWORD": "sta" if shell == "fish" else "1",
        },
    )
    assert "status" in completed.output
