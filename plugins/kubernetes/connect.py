"""Finding a cluster: a kubeconfig file, or the service account of the pod that we run in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from longshore.core.backends.causes import quoted
from longshore.core.errors import StartRefused, Unavailable
from longshore.plugins.kubernetes.settings import KubernetesSettings

# The library's functions have no types.
_load_file: Any = load_kube_config
_load_service_account: Any = load_incluster_config

NO_CLUSTER = (
    "Set KUBECONFIG, or kubeconfig in the settings of the plugin kubernetes; inside a cluster, let "
    "the pod have a service account."
)
CONNECTIONS = 100


class Connector:
    """Makes clients from whatever tells of the cluster.

    Args:
        settings: of the plugin.
        environment: the process's variables.
    """

    def __init__(self, settings: KubernetesSettings, environment: Mapping[str, str]) -> None:
        self._context = settings.context
        self._files = _files(settings, environment)
        self.source = self._files or "the pod's service account"
        """Where the credentials are from, for people."""
        self._loaded = False

    async def __call__(self) -> Any:
        """Return a client with the credentials as they are now.

        Raises:
            StartRefused: nothing tells of a cluster, or what does cannot be read.
            Unavailable: that is so now, and it was not so before.
        """
        configuration = Configuration(connection_pool_maxsize=CONNECTIONS)
        try:
            if self._files:
                await _load_file(
                    config_file=self._files,
                    context=self._context,
                    client_configuration=configuration,
                    persist_config=False,
                )
            else:
                _load_service_account(client_configuration=configuration)
            client = ApiClient(configuration)
        except Exception as error:
            # The library lets through whatever a wrong file makes it trip over.
            said = f"{self.source} leads to no cluster: {quoted(str(error))}"
            if self._loaded:
                raise Unavailable(said) from error
            raise StartRefused(said, hint=NO_CLUSTER) from error
        self._loaded = True
        return client


def _files(settings: KubernetesSettings, environment: Mapping[str, str]) -> str:
    """Return the kubeconfig files, as KUBECONFIG has them; empty for a service account's."""
    if settings.kubeconfig:
        return str(settings.kubeconfig.expanduser())
    if environment.get("KUBECONFIG"):
        return environment["KUBECONFIG"]
    usual = Path(environment.get("HOME", "/"), ".kube", "config")
    return str(usual) if usual.exists() else ""
