"""Address and credentials of the API server: kubeconfig files, exec plugins, the pod's service account."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import KubeConfigLoader, load_kube_config
from yaml import YAMLError

from .errors import KubeconfigInvalid

BEARER = "BearerToken"
"""Name under which kubernetes.aio stores the Authorization header."""

CONNECTIONS = 16
"""Requests to the API server at the same time. Others wait for a free connection.

A connection takes 300 KiB, most of it asyncio's buffer for TLS."""

READ_BUFFER = 2**21
"""Bytes of a reply that may wait to be read: a page of a list."""

POD_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

# Exceptions that kubernetes.aio raises for a kubeconfig that is missing, no YAML, or of an unexpected
# structure.
_LOAD_ERRORS = (ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Connection data with which another client (kopf's) reaches the same API server as the same user."""

    server: str
    """URL of the API server."""

    ca_file: str | None
    """Path of the CA certificate."""

    verify: bool
    """True to verify the certificate of the server."""

    authorization: str
    """Value of the Authorization header (`Bearer …`); empty with client certificates."""

    certificate_file: str | None
    """Path of the client certificate."""

    key_file: str | None
    """Path of the client certificate's key."""

    def __repr__(self) -> str:
        return f"ClusterAccess({self.server})"


async def load(kubeconfig: str | None, context: str | None = None) -> Configuration:
    """Load the connection data of the API server, of a context of the kubeconfig or its current one.

    The first of these that exists is used: the given file, the files in KUBECONFIG, `~/.kube/config`, the
    service account of the pod. Exec plugins are run. Tokens mounted into pods are read again every minute.

    Raises:
        KubeconfigInvalid: None of these exists, or the one that exists cannot be used.

    """
    configuration = Configuration()
    path = kubeconfig or os.environ.get("KUBECONFIG") or _default_file()
    if path is not None:
        await _load_from_file(configuration, path, context)
    elif context is None:
        _load_from_pod(configuration)
    else:
        raise KubeconfigInvalid(f"context {context}: there is no kubeconfig; name a file with --kubeconfig")
    return configuration


def session(configuration: Configuration, user_agent: str) -> aiohttp.ClientSession:
    """Return an HTTP session with the certificates and the proxy of a loaded configuration.

    `kubernetes.aio` would build each request again from generic parameters. That takes a quarter of the
    processor time of a request.
    """
    transport = RESTClientObject(configuration)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=transport.ssl_context),
        # With True, aiohttp reads ~/.netrc and looks for a proxy before each request, in other threads.
        trust_env=_is_behind_proxy(configuration.host),
        proxy=transport.proxy,
        headers={"User-Agent": user_agent},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=READ_BUFFER,
    )


async def authorization(configuration: Configuration) -> str:
    """Return the Authorization header of a loaded configuration; empty with client certificates."""
    return await configuration.get_api_key_with_prefix(BEARER) or ""


async def access(configuration: Configuration) -> ClusterAccess:
    """Return the connection data of a loaded configuration, with a current token."""
    return ClusterAccess(
        server=configuration.host,
        ca_file=configuration.ssl_ca_cert,
        verify=configuration.verify_ssl,
        authorization=await authorization(configuration),
        certificate_file=configuration.cert_file,
        key_file=configuration.key_file,
    )


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in; None outside of a cluster."""
    try:
        return POD_NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None


def _is_behind_proxy(server: str) -> bool:
    """Return whether the environment names a proxy for this URL: `HTTPS_PROXY`, without `NO_PROXY`."""
    url = urlsplit(server)
    return url.scheme in getproxies() and not proxy_bypass(url.hostname or "")


def _default_file() -> str | None:
    path = Path.home() / ".kube" / "config"
    return str(path) if path.is_file() else None


def _load_from_pod(configuration: Configuration) -> None:
    try:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise KubeconfigInvalid(
            "no kubeconfig found: there is none in KUBECONFIG or ~/.kube/config, and this process does not "
            f"run in a pod with a service account ({error}); name a file with --kubeconfig"
        ) from error


async def _load_from_file(configuration: Configuration, path: str, context: str | None) -> None:
    if not _exists(path):
        raise KubeconfigInvalid(f"kubeconfig {path}: no such file")
    try:
        loader = await load_kube_config(  # type: ignore[no-untyped-call]
            path, context=context, client_configuration=configuration, persist_config=False
        )
    except _LOAD_ERRORS as error:
        raise KubeconfigInvalid(f"kubeconfig {path}: {_describe(error)}") from error
    if command := _failed_exec_plugin(loader, configuration):
        raise KubeconfigInvalid(
            f"kubeconfig {path}: the exec plugin {command} returned no credentials; "
            "run it in a shell to see why"
        )


def _exists(path: str) -> bool:
    """Return whether the file exists, or at least one of the files that KUBECONFIG lists."""
    return any(Path(each).expanduser().is_file() for each in path.split(os.pathsep))


def _failed_exec_plugin(loader: KubeConfigLoader, configuration: Configuration) -> str | None:
    """Return the exec plugin that failed, if any.

    The loader only logs the failure and continues without credentials.
    """
    user = loader._user
    if user is None or "exec" not in user or configuration.api_key or configuration.cert_file:
        return None
    return str(user["exec"]["command"])


def _describe(error: Exception) -> str:
    match error:
        case YAMLError():
            return "the file is not valid YAML"
        case UnicodeDecodeError():
            return "the file is not UTF-8 text"
        case KeyError() | TypeError() | AttributeError():  # raised by the loader for an unexpected structure
            return "the file is not a kubeconfig; `kubectl config view` shows an example"
        case _:
            return (str(error) or type(error).__name__).splitlines()[0]
