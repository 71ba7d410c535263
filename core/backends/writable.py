"""Why the root file system of a container is writable, in the words that backends note on it."""

AS_REGISTERED = "as registered"
"""Its user wanted it so."""

NEEDS_WRITABLE_ROOT = (
    "runs with a writable root file system, because it failed with a read-only one"
)
