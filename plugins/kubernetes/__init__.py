"""The backend on Kubernetes: each version is a Deployment of its own.

Off unless plugins.toml lists it, or ``[longshore] backend = "kubernetes"`` chooses it.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from longshore.core.errors import StartRefused
from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Backend
from longshore.core.settings import Settings as PlatformSettings
from longshore.core.types import Evidence, Node
from longshore.plugins.kubernetes.settings import KubernetesSettings

if TYPE_CHECKING:
    from longshore.plugins.kubernetes.backend import KubernetesBackend


class Plugin:
    """Runs versions as Deployments of a Kubernetes cluster.

    Args:
        settings: of this plugin.
    """

    Settings = KubernetesSettings

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._backend: KubernetesBackend | None = None

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
        self._backend = KubernetesBackend(settings, self._settings, environment=os.environ)
        return self._backend

    @hookimpl
    def longshore_profile_node(self, node: Node) -> Mapping[str, Evidence] | None:
        """Tell the GPUs of a node that can be claimed, where GPUs are claimed."""
        return self._backend.facts(node) if self._backend else None
