"""Who leads: what the registry keeps of it. How a process comes to lead is in ``leadership``."""

from pydantic import SecretStr

from longshore.core.types import Value

CONTROLLER = "controller"
"""Name of the one lease that there is: of the controller that acts."""


class Lease(Value):
    """The right to act for a while, as the database had it when it was asked.

    Who holds it and until when is decided by the database's clock alone.
    """

    holder: str
    """Id of the process that has it, or had it last; empty if nobody ever did."""
    address: str = ""
    """``host:port`` where that process answers HTTP; empty if it does not yet."""
    token: SecretStr = SecretStr("")
    """What processes of this installation show each other; made anew for each holder."""
    epoch: int = 0
    """Grows with each change of holder, so that what an earlier one writes is recognised."""
    expires_in: float = 0.0
    """Seconds until it is free; 0 or less if it is."""

    @property
    def free(self) -> bool:
        """Whether anybody may take it."""
        return self.expires_in <= 0
