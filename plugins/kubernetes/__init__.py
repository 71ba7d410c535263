"""The backend on Kubernetes: each version is a Deployment of its own.

Off unless plugins.toml lists it, or ``[longshore] backend = "kubernetes"`` chooses it.
"""

import os

from longshore.core.errors import StartRefused
from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Backend
from longshore.core.settings import Settings as PlatformSettings
from longshore.plugins.kubernetes.settings import KubernetesSettings


class Plugin:
    """Runs versions as Deployments of a Kubernetes cluster.

    Args:
        settings: of this plugin.
    """

    Settings = KubernetesSettings

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings

    @hookimpl
    def longshore_backend(self, settings: PlatformSettings) -> Backend:
        """Return a backend on the cluster, which is looked for when it is opened."""
        # The client takes a second to import, and client commands load plugins too.
        try:
            from longshore.plugins.kubernetes.backend import KubernetesBackend
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in {"kubernetes", "yaml"}:
                raise
            raise StartRefused(
                f"the plugin kubernetes needs the official client, and {error.name} is missing",
                hint="Install it: pip install 'longshore[kubernetes]'",
            ) from error
        return KubernetesBackend(settings, self._settings, environment=os.environ)
