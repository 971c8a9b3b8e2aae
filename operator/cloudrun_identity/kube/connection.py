"""Where the API server is and who we are to it: kubeconfig files, exec plugins, the pod's own account."""

import os
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import KubeConfigLoader, load_kube_config
from yaml import YAMLError

from .errors import KubeconfigInvalid

BEARER = "BearerToken"  # the name under which kubernetes.aio keeps the Authorization header

# All that the loader of kubernetes.aio lets escape on a file that is missing, no YAML, or of another shape.
_UNUSABLE = (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Everything another client (kopf's) needs to reach the same API server as the same user.

    `authorization` is the whole header (`Bearer …`), empty with client certificates. Files are paths.
    """

    server: str
    ca_file: str | None
    verify: bool
    authorization: str
    certificate_file: str | None
    key_file: str | None

    def __repr__(self) -> str:
        return f"Access({self.server})"


async def load(kubeconfig: str | None) -> Configuration:
    """Find the API server: the given file, else KUBECONFIG, else ~/.kube/config, else the pod we run in.

    Exec plugins are run; the tokens that pods are given are read anew each minute. Raises `KubeconfigInvalid`
    when nothing is found, or what is found cannot be used.
    """
    configuration = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or _default_file()
    if path is None:
        _load_from_pod(configuration)
    else:
        await _load_from_file(configuration, path)
    return configuration


async def access(configuration: Configuration) -> ClusterAccess:
    """Read what a loaded configuration says, with a token that is current."""
    return ClusterAccess(
        server=configuration.host,
        ca_file=configuration.ssl_ca_cert,
        verify=configuration.verify_ssl,
        authorization=await configuration.get_api_key_with_prefix(BEARER) or "",
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
    )


def _default_file() -> str | None:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.is_file() else None


def _load_from_pod(configuration: Configuration) -> None:
    try:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise KubeconfigInvalid(
            "no kubeconfig given, none in KUBECONFIG or ~/.kube/config, and this is no pod with a service "
            f"account ({error}): name one with --kubeconfig"
        ) from error


async def _load_from_file(configuration: Configuration, path: str) -> None:
    if not _is_there(path):
        raise KubeconfigInvalid(f"kubeconfig {path}: there is no such file")
    try:
        loader = await load_kube_config(  # type: ignore[no-untyped-call]
            path, client_configuration=configuration, persist_config=False
        )
    except _UNUSABLE as error:
        raise KubeconfigInvalid(f"kubeconfig {path}: {_unusable(error)}") from error
    if command := _exec_without_credentials(loader, configuration):
        raise KubeconfigInvalid(
            f"kubeconfig {path}: the exec plugin {command} gave no credentials; run it by hand to see why"
        )


def _is_there(path: str) -> bool:
    """Whether there is a file, or one of several as KUBECONFIG may list them."""
    return any(Path(each).expanduser().is_file() for each in path.split(os.pathsep))


def _exec_without_credentials(loader: KubeConfigLoader, configuration: Configuration) -> str | None:
    """Name the exec plugin if it failed: the loader only logs that, and goes on without credentials."""
    user = loader._user
    if user is None or "exec" not in user or configuration.api_key or configuration.cert_file:
        return None
    return str(user["exec"]["command"])


def _unusable(error: Exception) -> str:
    match error:
        case YAMLError():
            return "this is not YAML"
        case UnicodeDecodeError():
            return "this is not text in UTF-8"
        case KeyError() | TypeError() | AttributeError():  # of the loader, on its way through another shape
            return "this is no kubeconfig; `kubectl config view` shows what one looks like"
        case _:
            return (str(error) or type(error).__name__).splitlines()[0]
