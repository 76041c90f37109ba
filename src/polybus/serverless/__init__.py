"""The handlers of an `App` inside a cloud's function, instead of in a process that consumes.

    from polybus.serverless import aws_lambda, azure_functions, cloud_run

    handler = aws_lambda(app)           # AWS Lambda: SQS and SNS events
    handle = azure_functions(app)       # the body of an Azure Functions trigger
    asgi = cloud_run(app, ...)          # Google's pushes and SNS's HTTPS deliveries

docs/serverless.md says what of the contract holds where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.serverless.aws_function import AwsLambda, aws_lambda
    from polybus.serverless.azure_function import AzureFunction, ServiceBusMessage, azure_functions
    from polybus.serverless.failure import HandlersFailed, Unverified
    from polybus.serverless.google_tokens import GoogleTokens
    from polybus.serverless.http_function import CloudRun, cloud_run
    from polybus.serverless.sns_signature import SnsSignatures

__all__ = [
    "AwsLambda",
    "AzureFunction",
    "CloudRun",
    "GoogleTokens",
    "HandlersFailed",
    "ServiceBusMessage",
    "SnsSignatures",
    "Unverified",
    "aws_lambda",
    "azure_functions",
    "cloud_run",
]

__getattr__ = imported_at_first_use(
    "polybus.serverless",
    {
        "AwsLambda": "aws_function",
        "AzureFunction": "azure_function",
        "CloudRun": "http_function",
        "GoogleTokens": "google_tokens",
        "HandlersFailed": "failure",
        "ServiceBusMessage": "azure_function",
        "SnsSignatures": "sns_signature",
        "Unverified": "failure",
        "aws_lambda": "aws_function",
        "azure_functions": "azure_function",
        "cloud_run": "http_function",
    },
)
