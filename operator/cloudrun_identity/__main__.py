"""Run the console script as `python -m cloudrun_identity`."""

from cloudrun_identity.cli import main

main()
