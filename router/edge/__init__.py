"""The edge: what a connection must keep to before anything behind it hears of a request.

Everything here is about one client's connection and nothing about models. Read in this order:

    refusals  what a client hears whose request goes no further, and how it is written
    head      the head of a request by RFC 9112, strict; a pure function over bytes
    gate      holds back what is no whole, sound request; finds where one ends and the next begins
    watch     limits on time and number, looked at for all connections at once
    tunnel    two connections joined after an upgrade
"""

from longshore.router.edge.limits import EdgeLimits
from longshore.router.edge.watch import Watch

__all__ = ["EdgeLimits", "Watch"]
