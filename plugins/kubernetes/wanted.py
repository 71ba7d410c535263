"""Everything that the objects of one version are made of."""

from dataclasses import dataclass

from longshore.core.settings import RegistryLogin
from longshore.core.types import Workload
from longshore.plugins.kubernetes.labels import object_name
from longshore.plugins.kubernetes.settings import KubernetesSettings


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that the objects of one version are made of."""

    owner: str
    """Id of the installation."""
    workload: Workload
    settings: KubernetesSettings
    login: RegistryLogin | None = None
    """For the image's registry."""
    nodes: tuple[str, ...] = ()
    """Where its pods must run; anywhere if empty."""
    writable_because: str = ""
    """Why the root file system is writable; empty leaves it read-only."""
    autoscaled: bool = False
    """Whether a HorizontalPodAutoscaler sets the number of replicas."""

    @property
    def claims_gpus(self) -> bool:
        """Whether its pods get their GPUs by claims."""
        return self.settings.claims_gpus and self.workload.gpu_count > 0

    @property
    def name(self) -> str:
        """What all its objects are called."""
        return object_name(self.owner, self.workload.key)
