"""All that is Google Pub/Sub's own."""
