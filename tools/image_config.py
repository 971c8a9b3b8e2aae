"""Configuration of a container image, as the instructions of a Dockerfile set it."""

from dataclasses import dataclass, field

BASE_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""Environment that the image `python:slim` sets."""

LINKER_ENVIRONMENT = {"LD_LIBRARY_PATH": "/usr/local/lib"}
"""Directory of Python's shared library, which the linker cache of `python:slim` lists."""


@dataclass
class Image:
    """Configuration of an image while its stage is executed."""

    environment: dict[str, str] = field(default_factory=lambda: dict(BASE_ENVIRONMENT))
    """Variables of `ENV`, and of the base image."""

    arguments: dict[str, str] = field(default_factory=dict)
    """Variables of `ARG`, which exist during the build only."""

    directory: str = "/"
    """Working directory."""

    user: str = "0:0"
    """User and group, as numbers."""

    entrypoint: list[str] = field(default_factory=list)
    """Program of a container, with its first arguments."""

    command: list[str] = field(default_factory=list)
    """Default arguments."""

    healthcheck: list[str] = field(default_factory=list)
    """Command that reports whether the container works."""

    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the image."""

    ports: list[str] = field(default_factory=list)
    """Documented ports."""

    @property
    def variables(self) -> dict[str, str]:
        """Variables that instructions may use."""
        return self.arguments | self.environment

    def config(self) -> dict[str, object]:
        """Return the object `config` of the OCI image specification, with Docker's `Healthcheck`."""
        return {
            "User": self.user,
            "ExposedPorts": {f"{port}/tcp": {} for port in self.ports},
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "Entrypoint": self.entrypoint,
            "Cmd": self.command,
            "WorkingDir": self.directory,
            "Labels": self.labels,
            "Healthcheck": {"Test": ["CMD", *self.healthcheck]},
        }
