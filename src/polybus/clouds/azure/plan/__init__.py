"""How Azure Service Bus realises a topology: pure values, and what is refused."""
