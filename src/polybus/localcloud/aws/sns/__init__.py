"""SNS: topics, subscriptions, and what is delivered to whom."""
