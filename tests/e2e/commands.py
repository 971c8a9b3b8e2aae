"""Commands of the operator's command line, run in the process of the test."""

from click.testing import CliRunner

from cloudrun_identity.cli import cli


def run_cli(*arguments: str, stdin: str = "") -> str:
    """Run a command that must succeed; return what it printed on stdout."""
    result = CliRunner().invoke(cli, arguments, input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout
