"""The pytest plugin: every test gets a migrated database of its own. See docs/testing.md."""
