"""Rates of polybus beside those of other libraries: `make bench`, or `python -m benchmarks [module...]`."""
