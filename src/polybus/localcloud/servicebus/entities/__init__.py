"""Queues, topics and subscriptions: what Service Bus means, without a wire."""
