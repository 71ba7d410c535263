"""What one client, and all together, may take; see docs/http.md for what each is good for."""

from dataclasses import dataclass
from typing import Self

from longshore.core.settings import Settings


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """The limits of one router process; times in seconds, 0 for none where that is allowed."""

    max_head: int
    max_headers: int
    head_timeout: float
    body_timeout: float
    answer_timeout: float
    keep_alive: float
    max_connections: int
    max_connections_per_client: int
    tunnel_idle: float
    tunnel_total: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits that the platform's settings ask for."""
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})
