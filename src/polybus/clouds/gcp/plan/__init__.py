"""How Google Pub/Sub realises a topology: pure values, and what is refused."""
