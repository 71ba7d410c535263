"""What all parts of an open backend share."""

from collections.abc import Mapping
from dataclasses import dataclass

from longshore.core.backends.hints import Hints
from longshore.core.settings import RegistryLogin
from longshore.plugins.kubernetes.client import Client
from longshore.plugins.kubernetes.kinds import Kind
from longshore.plugins.kubernetes.settings import KubernetesSettings
from longshore.plugins.kubernetes.watch import Cache


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that was found, and what it has of one installation."""

    owner: str
    """Id of the installation."""
    client: Client
    caches: Mapping[Kind, Cache]
    hints: Hints
    """Told of every change."""
    settings: KubernetesSettings
    logins: Mapping[str, RegistryLogin]
    """For image registries, by host."""

    def login_for(self, image: str) -> RegistryLogin | None:
        """Return the login for the registry that an image is in; None where there is none."""
        return self.logins.get(image.partition("/")[0])
