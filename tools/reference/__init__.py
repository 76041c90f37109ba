"""docs/reference, written from the code: `make reference` writes it, tests/reference holds it to what the code says."""
