"""Build the file system of the container image without a Docker engine, and run the operator from it.

    python tools/image_layout.py build DIR [--build-arg NAME=VALUE]
    python tools/image_layout.py run DIR [--volume HOST:PATH] [--env NAME=VALUE] [-- ARGUMENT…]

`build` executes the steps of the Dockerfile, in order, in a mount namespace. The base image is this machine:
its root file system, with this Python below `/usr/local` as in the image `python:slim`. A stage writes to the
upper layer of an overlay mount, so nothing on the machine changes. `DIR/rootfs` and `DIR/local` are those of
the last stage. `DIR/config.json` is its configuration in the format of the OCI image specification.

`run` mounts the layers read-only and executes the entrypoint as the image's user, without other privileges.
The process has the network of the machine. A volume needs a directory that exists in the image.

Both need Linux, root and `unshare` of util-linux, and `build` needs the package index. The Python that runs
this script must have the version of the base image. A build with Docker proves more: the libraries of the
real base image, and other architectures.
"""

import argparse
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from tools import dockerfile, overlays
    from tools.image_config import LINKER_ENVIRONMENT, Image
else:
    import dockerfile
    import overlays
    from image_config import LINKER_ENVIRONMENT, Image

ROOT = Path(__file__).parents[1]
PASSED_ON = ("pip_", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_", "requests_ca_bundle")
"""Prefixes of the variables that say how this machine reaches the package index."""


class Stage:
    """Layers of one stage, mounted at `root` in the mount namespace of this process."""

    def __init__(self, directory: Path) -> None:
        self.upper, self.local, self.root = directory / "rootfs", directory / "local", directory / "merged"
        for each in (self.upper, self.local):
            each.mkdir(parents=True)
        overlays.mount(self.root, Path("/"), self.upper)
        overlays.mount(self.root / "usr/local", Path(sys.base_prefix), self.local)
        overlays.mount_kernel(self.root)

    def path(self, image: Image, path: str) -> Path:
        """Return the path on the machine of a path in the stage."""
        return self.root / str(PurePosixPath(image.directory, path)).lstrip("/")


def build(output: Path, build_arguments: Mapping[str, str], root: Path = ROOT) -> None:
    """Execute the Dockerfile of a directory."""
    parsed = dockerfile.parse((root / "Dockerfile").read_text(encoding="utf-8"))
    ignored = dockerfile.ignore_patterns((root / ".dockerignore").read_text(encoding="utf-8"))
    global_arguments: dict[str, str] = {}
    for instruction in parsed.arguments:
        _argument(instruction, global_arguments, build_arguments, {})
    stages: dict[str, Stage] = {}
    for number, described in enumerate(parsed.stages):
        last = number == len(parsed.stages) - 1
        stage, image = Stage(output if last else output / "stages" / str(number)), Image()
        stages[described.name] = stage
        for instruction in described.instructions:
            print(f"{instruction.name} {instruction.value}", flush=True)
            match instruction.name:
                case "ARG":
                    _argument(instruction, image.arguments, build_arguments, global_arguments)
                case "RUN":
                    _run(instruction, stage, image)
                case "COPY":
                    _copy(dockerfile.copy(instruction), stage, image, stages, root, ignored)
                case _:
                    _configure(instruction, stage, image)
    (output / "config.json").write_text(json.dumps(image.config(), indent=2), encoding="utf-8")


def _argument(
    instruction: dockerfile.Instruction,
    variables: dict[str, str],
    given: Mapping[str, str],
    inherited: Mapping[str, str],
) -> None:
    """Set the variable of `ARG`: the given value, its default, or the value before the first stage."""
    name, _, default = instruction.value.partition("=")
    variables[name] = given.get(name, default or inherited.get(name, ""))


def _configure(instruction: dockerfile.Instruction, stage: Stage, image: Image) -> None:
    value = dockerfile.expand(instruction.value, image.variables)
    match instruction.name:
        case "WORKDIR":
            stage.path(image, value).mkdir(parents=True, exist_ok=True)
            image.directory = value
        case "ENV":
            image.environment |= dockerfile.pairs(instruction, image.variables)
        case "LABEL":
            image.labels |= dockerfile.pairs(instruction, image.variables)
        case "USER":
            image.user = value
        case "EXPOSE":
            image.ports.append(value)
        case "HEALTHCHECK":
            image.healthcheck = dockerfile.healthcheck(instruction)
        case "ENTRYPOINT":
            image.entrypoint = dockerfile.exec_form(instruction)
        case "CMD":
            image.command = dockerfile.exec_form(instruction)


def _run(instruction: dockerfile.Instruction, stage: Stage, image: Image) -> None:
    """Execute a shell command in the stage."""
    settings = {name: value for name, value in os.environ.items() if name.lower().startswith(PASSED_ON)}
    script = f"cd {shlex.quote(image.directory)} || exit\n{instruction.value}"
    user, _, group = image.user.partition(":")
    subprocess.run(
        ["chroot", f"--userspec={user}:{group}", stage.root, "/bin/sh", "-c", script],
        env={"HOME": "/root", **LINKER_ENVIRONMENT, **settings, **image.variables},
        check=True,
    )


def _copy(
    instruction: dockerfile.Copy,
    stage: Stage,
    image: Image,
    stages: Mapping[str, Stage],
    context: Path,
    ignored: Sequence[str],
) -> None:
    """Copy files from an earlier stage, or those of the context that .dockerignore does not exclude."""

    def excluded(directory: str, names: list[str]) -> set[str]:
        if instruction.stage:
            return set()
        relative = PurePosixPath(Path(directory).relative_to(context))
        return {name for name in names if dockerfile.is_ignored(relative / name, ignored)}

    for name in instruction.sources:
        source = (
            stages[instruction.stage].path(Image(), name) if instruction.stage else context.joinpath(name)
        )
        if excluded(str(source.parent), [source.name]):
            raise FileNotFoundError(f"{source} is excluded by .dockerignore")
        destination = stage.path(image, instruction.destination)
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True, ignore=excluded, dirs_exist_ok=True)
        else:
            target = destination / source.name if instruction.into_directory else destination
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def run(
    directory: Path,
    arguments: Sequence[str],
    *,
    entrypoint: str,
    volumes: Sequence[tuple[Path, str]],
    environment: Mapping[str, str],
) -> None:
    """Replace this process by that of a container with a read-only root file system."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    root = directory / "merged"
    overlays.mount(root, Path("/"), directory / "rootfs", read_only=True)
    overlays.mount(root / "usr/local", Path(sys.base_prefix), directory / "local", read_only=True)
    overlays.mount_kernel(root)
    for host, path in volumes:
        overlays.bind(host, root / path.lstrip("/"))
    variables = {**dict(each.split("=", 1) for each in config["Env"]), **environment}
    command = [entrypoint] if entrypoint else config["Entrypoint"]
    command = [*command, *(arguments or ([] if entrypoint else config["Cmd"]))]
    user, _, group = config["User"].partition(":")
    os.chroot(root)
    os.chdir(config["WorkingDir"])
    home = pwd.getpwuid(int(user)).pw_dir
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    os.execvpe(command[0], command, {"HOME": home, **LINKER_ENVIRONMENT, **variables})


def obstacle(root: Path = ROOT) -> str:
    """Return why this machine cannot build the layout, or an empty string."""
    parsed = dockerfile.parse((root / "Dockerfile").read_text(encoding="utf-8"))
    [base] = [each.value for each in parsed.arguments if each.value.startswith("BASE=")]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if f":{version}-" not in base:
        return f"this is Python {version}, and the base image is {base.removeprefix('BASE=')}"
    if not Path(sys.base_prefix, "bin/python").exists() or sys.base_prefix == "/usr":
        return f"Python is not in a directory of its own, but in {sys.base_prefix}"
    return overlays.obstacle()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--in-namespace", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="execute the Dockerfile")
    building.add_argument("directory", type=Path, help="new directory for the result")
    building.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    running = commands.add_parser("run", help="execute the image's entrypoint")
    running.add_argument("directory", type=Path, help="directory of a build")
    running.add_argument("--volume", action="append", default=[], metavar="HOST:PATH")
    running.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    running.add_argument("--entrypoint", default="", metavar="PROGRAM")
    return parser


def main() -> None:
    """Build or run, in a mount namespace. Arguments after `--` replace those of the image."""
    end = [*sys.argv, "--"].index("--")
    options, arguments = _parser().parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    directory: Path = options.directory.resolve()
    if not options.in_namespace:
        if reason := obstacle():
            sys.exit(f"error: {reason}")
        command = overlays.in_namespace(sys.executable, __file__, "--in-namespace", *sys.argv[1:])
        if options.command == "run":
            os.execvp(command[0], command)
        code = subprocess.run(command, check=False).returncode
        for left in (directory / "stages", directory / "merged", *directory.glob(f"*{overlays.WORK}*")):
            shutil.rmtree(left, ignore_errors=True)
        sys.exit(code)
    elif options.command == "build":
        build(directory, dict(each.split("=", 1) for each in options.build_arg))
    else:
        run(
            directory,
            arguments,
            entrypoint=options.entrypoint,
            volumes=[(Path(host), path) for host, _, path in (v.partition(":") for v in options.volume)],
            environment=dict(each.split("=", 1) for each in options.env),
        )


if __name__ == "__main__":
    main()
