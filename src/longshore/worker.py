"""The program of one router worker, which ``longshore up --workers N`` starts: never by hand."""

import asyncio
import os
import signal
import sys

import click
import uvloop

from longshore import compose, parts
from longshore.core.errors import LongshoreError
from longshore.core.loading import load
from longshore.router.workers.messages import Assignment
from longshore.router.workers.worker import work


def main() -> None:
    """Read what the parent gave, load settings and plugins as it did, and work."""
    # Whoever runs the parent in a terminal stops that, and it stops us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assignment = Assignment.model_validate_json(sys.argv[1])
    try:
        settings, plugins = load(assignment.config, os.environ, assignment.options)
        front = compose.front(settings, plugins)
    except LongshoreError as error:
        click.echo(f"Error: router worker {assignment.number}: {error.message}", err=True)
        sys.exit(1)
    compose.log_to_stderr(settings, f"worker {assignment.number}: ")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(assignment, front, parts.settle))


if __name__ == "__main__":
    main()
