"""The commands of `cloudrun-identity`, one module each, and their shared options.

Modules import everything slow inside the command, so that `--help` stays fast.
"""
