"""The bus: what every backend shares - batching, retries, leases, order, settling, drain and redrive."""
