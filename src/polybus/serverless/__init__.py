"""The handlers of an `App` inside a cloud's function, instead of in a process that consumes.

    from polybus.serverless import aws_lambda, azure_functions, cloud_run

    handler = aws_lambda(app)           # AWS Lambda: SQS and SNS events
    handle = azure_functions(app)       # the body of an Azure Functions trigger
    asgi = cloud_run(app, ...)          # Google's pushes and SNS's HTTPS deliveries

docs/serverless.md says what of the contract holds where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

# No module here has the name of a function: importing it would put the module in the function's place.
_HOMES = {
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
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
