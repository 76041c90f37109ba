"""How AWS SNS and SQS realise a topology: pure values, and what is refused."""
