"""The fast lane: the common prediction request, relayed from connection to connection.

FastAPI declares, documents and validates all endpoints, and serves whatever is unusual. But most
requests to a model are alike: a POST with a sized body, to a version that is ready. Those are
recognised by their first bytes and relayed here, below ASGI, several times faster; everything else
goes on to uvicorn and FastAPI untouched, byte by byte as it came. Read the pieces in this order:

    wire      what a request's and an answer's head look like; pure functions over bytes
    sticky    reading one header out of a head, for a traffic rule
    pool      kept connections to replicas
    exchange  one request and its answer: relay, time-outs, accounting
    lane      what all exchanges share: who may take it, and the clock
    protocol  the client's connection: decides which way a request takes
"""

from longshore.router.lane.lane import Lane

__all__ = ["Lane"]
