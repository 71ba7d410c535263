"""Alembic's environment; ``migrate.py`` runs it."""
