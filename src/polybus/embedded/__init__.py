"""The backends that need no server: memory and SQLite."""
