"""What should exist: pure values, read from `polybus.toml`, and each cloud's limits as data."""
