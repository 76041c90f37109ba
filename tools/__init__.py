"""What is used to work on polybus, and is in no package of it."""
