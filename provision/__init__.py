"""Declarative provisioning of PostgreSQL: one YAML file becomes a running, configured, migrated server."""

__version__ = "0.1.0"
