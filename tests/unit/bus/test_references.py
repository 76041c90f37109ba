"""A binding that is named and not given: by a URL, or by where a cloud keeps it, over real sockets."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import polybus
from polybus.binding import Binding
from polybus.bus.resolve import resolve

BINDING = Binding(backend="aws", bus="elsewhere")


@dataclass
class Ssm:
    """As much of AWS Systems Manager as has parameters."""

    parameters: dict[str, str] = field(default_factory=dict)
    refuses: str = ""
    asked: list[dict[str, object]] = field(default_factory=list)

    def answer(self, target: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        assert target == "AmazonSSM.GetParameter"
        self.asked.append(body)
        if self.refuses:
            return 400, {"__type": self.refuses, "message": "no"}
        name = str(body["Name"])
        if name not in self.parameters:
            return 400, {"__type": "ParameterNotFound"}
        return 200, {"Parameter": {"Name": name, "Type": "String", "Value": self.parameters[name]}}


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, object]]) -> Iterator[str]:
    """Serve JSON over HTTP; `answer` has the request and its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, found = answer(self, body)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.headers["Content-Length"] = self.headers["Content-Length"] or "0"
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ssm]:
    made = Ssm()

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, object]:
        return made.answer(request.headers["X-Amz-Target"], json.loads(body))

    with serving(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", url)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        yield made


def variable(text: str, tmp_path: Path) -> tuple[Binding, str]:
    return resolve(None, environ={"POLYBUS_BINDING": text}, start=tmp_path)


def test_a_parameter_of_systems_manager_is_read(ssm: Ssm, tmp_path: Path) -> None:
    ssm.parameters["/polybus/shop/prod/billing"] = BINDING.to_compact_json()
    found, origin = variable("ssm:/polybus/shop/prod/billing", tmp_path)
    assert found == BINDING
    assert origin == "ssm:/polybus/shop/prod/billing, named by POLYBUS_BINDING"
    assert ssm.asked == [{"Name": "/polybus/shop/prod/billing", "WithDecryption": True}]


def test_a_parameter_may_be_named_by_its_arn(ssm: Ssm, tmp_path: Path) -> None:
    arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/polybus/shop/prod/billing"
    ssm.parameters[arn] = BINDING.to_compact_json()
    assert variable(f"ssm:{arn}", tmp_path)[0] == BINDING


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        ("", r"POLYBUS_BINDING names ssm:/x: there is no parameter '/x' in this account and region"),
        ("AccessDeniedException", r"ssm:/x: ssm:GetParameter is denied; the service's policy"),
        ("InternalServerError", r"ssm:/x: .*InternalServerError"),
    ],
)
def test_what_systems_manager_refuses_says_which_and_why(ssm: Ssm, tmp_path: Path, refuses: str, words: str) -> None:
    ssm.refuses = refuses
    with pytest.raises(polybus.BindingError, match=words):
        variable("ssm:/x", tmp_path)


def test_what_is_there_and_no_binding_is_named_too(ssm: Ssm, tmp_path: Path) -> None:
    ssm.parameters["/x"] = "{}"
    with pytest.raises(polybus.BindingError, match=r"ssm:/x: .*backend"):
        variable("ssm:/x", tmp_path)


def test_a_file_s_url_is_read(tmp_path: Path) -> None:
    (tmp_path / "a b.json").write_text(BINDING.to_json())
    assert variable((tmp_path / "a b.json").as_uri(), tmp_path)[0] == BINDING
    with pytest.raises(polybus.BindingError, match=r"nowhere\.json: No such file or directory; POLYBUS_BINDING names"):
        variable((tmp_path / "nowhere.json").as_uri(), tmp_path)


def test_an_address_where_nothing_answers_is_named(tmp_path: Path) -> None:
    with pytest.raises(polybus.BindingError, match=r"https://127\.0\.0\.1:1/b: .*; POLYBUS_BINDING names it"):
        variable("https://127.0.0.1:1/b", tmp_path)


@pytest.mark.parametrize("text", ["smm:/x", "http://example.com/b", "vault:secret/b"])
def test_other_places_are_refused_with_those_that_there_are(text: str, tmp_path: Path) -> None:
    places = "appconfig:, keyvault:, secretmanager:, ssm:, file:, https:"
    with pytest.raises(polybus.BindingError, match=rf"POLYBUS_BINDING: found .* begins with {places}"):
        variable(text, tmp_path)


def test_a_file_may_have_a_colon_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ssm:x").write_text(BINDING.to_json())
    assert variable("ssm:x", tmp_path)[0] == BINDING


# -- Google Secret Manager ---------------------------------------------------------------------------------------------

NAME = "projects/p/secrets/shop-dev-billing"


@dataclass
class Secrets:
    """As much of Google as has secrets and gives tokens."""

    versions: dict[str, str] = field(default_factory=dict)
    refuses: int = 0
    tokens: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, object]:
        if request.path == "/token":
            return 200, {"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}
        self.tokens.append(request.headers["Authorization"])
        name = request.path.removeprefix("/v1/").removesuffix(":access")
        if self.refuses or name not in self.versions:
            return self.refuses or 404, {"error": {"message": "no"}}
        data = base64.b64encode(self.versions[name].encode()).decode()
        return 200, {"name": name, "payload": {"data": data}}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Secrets]:
    made = Secrets()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with serving(made.answer) as url:
        account = {"type": "service_account", "client_email": "billing@p", "token_uri": f"{url}/token"}
        account["private_key"] = pem
        (tmp_path / "account.json").write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", f"{url}/")
        yield made


def test_a_secret_of_secret_manager_is_read(secrets: Secrets, tmp_path: Path) -> None:
    secrets.versions[f"{NAME}/versions/latest"] = BINDING.to_compact_json()
    secrets.versions[f"{NAME}/versions/3"] = Binding(backend="gcp", bus="former").to_compact_json()
    assert variable(f"secretmanager:{NAME}", tmp_path)[0] == BINDING
    assert variable(f"secretmanager:{NAME}/versions/3", tmp_path)[0].bus == "former"
    assert secrets.tokens == ["Bearer a-token", "Bearer a-token"]


@pytest.mark.parametrize(
    ("refuses", "name", "words"),
    [
        (0, NAME, r"there is no such secret or version; a stack with bindings = secretmanager makes it"),
        (403, NAME, r"denied; it takes roles/secretmanager\.secretAccessor on the secret"),
        (500, NAME, r"HTTP 500: "),
        (0, "shop-dev-billing", r"allowed: secretmanager:projects/<project>/secrets/<name>"),
    ],
)
def test_what_secret_manager_refuses_says_which_and_why(
    secrets: Secrets, tmp_path: Path, refuses: int, name: str, words: str
) -> None:
    secrets.refuses = refuses
    with pytest.raises(polybus.BindingError, match=f"POLYBUS_BINDING names secretmanager:{name}: {words}"):
        variable(f"secretmanager:{name}", tmp_path)
