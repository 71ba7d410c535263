"""The registry on SQL: SQLite out of the box, PostgreSQL by URL."""

from longshore.core.hookspecs import hookimpl
from longshore.core.protocols import Registry
from longshore.core.settings import Settings


class Plugin:
    """Keeps what should run in the database that ``settings.database_url`` names."""

    @hookimpl
    def longshore_registry(self, settings: Settings) -> Registry:
        """Return a registry on that database."""
        # SQLAlchemy takes a quarter of a second to import, and client commands load plugins too.
        from longshore.plugins.sql_registry.registry import SqlRegistry

        return SqlRegistry(settings.database_url)
