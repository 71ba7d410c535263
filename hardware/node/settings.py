"""Where an operator lets Longshore look at its own machine, and for how long."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class NodesSettings(BaseModel):
    """Settings of the plugin ``nodes`` in plugins.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sys: Path = Path("/sys")
    """Where the kernel tells of devices and NUMA nodes."""
    proc: Path = Path("/proc")
    """Where the kernel tells of CPUs, memory and processes."""
    cgroup: Path = Path("/sys/fs/cgroup")
    """Where control groups are, of version 2 or 1."""
    this_node: str | None = Field(default=None, min_length=1)
    """What the backend calls the machine that Longshore runs on; if left out, a node is taken for
    it that has its host name and its memory."""
    driver_seconds: float = Field(default=20, gt=0)
    """Seconds that NVIDIA's driver may take to answer."""
    fresh: float = Field(default=5, ge=0)
    """Seconds for which what was read is not read again; at least ten times what reading took."""
