"""The protocols: AWS JSON 1.0 for SQS, Query with XML answers for SNS, STS and older SQS clients."""
