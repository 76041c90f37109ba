"""A binding that is in a parameter of AWS Systems Manager: `ssm:<name>` or `ssm:<ARN>`."""

from __future__ import annotations

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from polybus.errors import BindingError

__all__ = ["read"]

# A service that starts has nothing else to do, and a platform that waits for it should hear why it doesn't.
_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})


def read(reference: str) -> str:
    """Return the text of a parameter, decrypted; region, endpoint and credentials are where boto3 finds them.

    Raises BindingError with what AWS says.
    """
    name = reference.partition(":")[2]
    try:
        client = boto3.client("ssm", config=_CONFIG)
        answer = client.get_parameter(Name=name, WithDecryption=True)
    except ClientError as error:
        raise BindingError(f"{reference}: {_explained(error, name)}") from error
    except BotoCoreError as error:
        raise BindingError(f"{reference}: {error}") from error
    text: str = answer["Parameter"]["Value"]
    return text


def _explained(error: ClientError, name: str) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ParameterNotFound":
        return f"there is no parameter {name!r} in this account and region; a stack with bindings = ssm makes it"
    if code == "AccessDeniedException":
        return f"ssm:GetParameter is denied; the service's policy of a stack with bindings = ssm allows it: {error}"
    return str(error)
