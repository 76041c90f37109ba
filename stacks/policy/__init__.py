"""The policy pack of polybus's stacks."""
