"""Overlay mounts in a mount namespace of their own, by the commands of util-linux.

Reference: https://docs.kernel.org/filesystems/overlayfs.html
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

WORK = "-work-"
"""Part of the names of directories that the kernel needs while an overlay is mounted."""


def in_namespace(*command: str | Path) -> list[str]:
    """Return the command that executes another one in a mount namespace, which ends with it."""
    return ["unshare", "--mount", *map(str, command)]


def obstacle() -> str:
    """Return why this process cannot mount overlays, or an empty string."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "overlay mounts need Linux and root"
    with tempfile.TemporaryDirectory() as temporary:
        upper, root = Path(temporary, "upper"), Path(temporary, "merged")
        upper.mkdir()
        tried = subprocess.run(
            in_namespace(*_mount_command(root, Path("/"), upper)),
            capture_output=True,
            text=True,
            check=False,
        )
    return "" if tried.returncode == 0 else f"overlay mounts do not work here: {tried.stderr.strip()}"


def mount(root: Path, lower: Path, upper: Path, *, read_only: bool = False) -> None:
    """Mount a directory at `root` with another one over it, where changes are written."""
    subprocess.run(_mount_command(root, lower, upper, read_only=read_only), check=True)


def bind(directory: Path, root: Path) -> None:
    """Mount a directory a second time."""
    subprocess.run(["mount", "--rbind", directory, root], check=True)


def mount_kernel(root: Path) -> None:
    """Mount the file systems that a container engine provides."""
    for name in ("dev", "proc"):
        bind(Path("/", name), root / name)


def _mount_command(root: Path, lower: Path, upper: Path, *, read_only: bool = False) -> list[str | Path]:
    root.mkdir(parents=True, exist_ok=True)
    # The kernel needs an empty directory in the file system of `upper`. Two containers must not share it.
    work = upper.with_name(f"{upper.name}{WORK}{os.getpid()}")
    work.mkdir()
    # Without an index, two containers may have the same upper layer.
    options = f"index=off,lowerdir={lower},upperdir={upper},workdir={work}"
    return ["mount", "-t", "overlay", "overlay", "-o", f"ro,{options}" if read_only else options, root]
