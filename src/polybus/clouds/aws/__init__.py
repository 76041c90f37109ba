"""All that is AWS SNS and SQS's own."""
