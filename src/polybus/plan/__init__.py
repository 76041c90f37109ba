"""How one cloud realises a topology: pure values, one for each resource, and what each cloud refuses."""
