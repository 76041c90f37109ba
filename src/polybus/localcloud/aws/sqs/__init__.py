"""SQS: queues and what happens to messages in them."""
