"""`python -m cloudrun_identity` is the console script."""

from cloudrun_identity.cli import main

main()
