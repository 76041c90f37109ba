"""What docs/serverless.md shows is put into files, imported, and invoked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from shop import binding, event

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serverless.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file of the page, and no binding yet."""
    found = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL)
    for name, text in found:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "shop" / "__init__.py").touch()  # or the tests' own module shop would come first
    assert [name for name, _ in found] == ["shop/billing.py", "billing_lambda.py", "function_app.py", "billing_push.py"]
    return tmp_path


def run(folder: Path, backend: str, code: str, *, push: bool = False) -> str:
    (folder / "polybus.binding.json").write_bytes(msgspec.json.encode(binding(backend, push=push)))
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "push", "answer"), [("sqs", False, {"batchItemFailures": []}), ("sns", True, None)])
def test_the_lambda_function_handles_an_event(folder: Path, name: str, push: bool, answer: Any) -> None:
    code = f"import billing_lambda\nprint(billing_lambda.handler({event(name)!r}, None))"
    assert run(folder, "aws", code, push=push).splitlines() == ["billed one", str(answer)]


def test_the_function_app_has_the_trigger_that_the_binding_says(folder: Path) -> None:
    code = "import function_app\nfor one in function_app.functions.get_functions(): print(one.get_function_json())"
    (function,) = run(folder, "azure", code, push=True).splitlines()
    (trigger,) = json.loads(function)["bindings"]
    assert trigger == {
        "direction": "IN",
        "type": "serviceBusTrigger",
        "name": "message",
        "connection": "ServiceBus",
        "topicName": "orders",
        "subscriptionName": "billing",
        "isSessionsEnabled": False,
    }


def test_the_function_app_handles_a_message(folder: Path) -> None:
    code = f"""
import asyncio, sys
sys.path.append({str(Path(__file__).parent)!r})
import function_app, trigger
(function,) = function_app.functions.get_functions()
asyncio.run(function.get_user_function()(trigger.message(b'{{"id": "one"}}')))
"""
    assert run(folder, "azure", code) == "billed one\n"


def test_the_host_file_is_json() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(text)["extensionBundle"]["version"] == "[4.*, 5.0.0)"


def test_the_push_endpoint_is_served_by_the_command_that_is_shown(folder: Path) -> None:
    (command,) = re.findall(r"^\$ (uvicorn .*)$", PAGE, re.MULTILINE)
    code = f"""
from uvicorn.main import main
from uvicorn.importer import import_from_string
words = {command.replace("$PORT", "8080").split()[1:]!r}
given = main.make_context("uvicorn", words).params
print(given["host"], given["port"], given["timeout_graceful_shutdown"], type(import_from_string(given["app"])).__name__)
"""
    assert run(folder, "gcp", code) == "0.0.0.0 8080 8 CloudRun\n"
