"""All that is Azure Service Bus's own."""
