"""Object stores of this machine: moto for S3, and as much of Azure's and Google's as polybus asks for."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3

from moto_process import moto

KINDS = ("s3", "gs", "az")
CREDENTIALS = {"access_key_id": "local", "secret_access_key": "local", "region": "us-east-1"}
LOCAL: dict[str, Any] = {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
KEY = "bG9jYWw="
# What object_store takes for an account of an emulator: it asks nobody for a token.
ACCOUNT = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
LAST = {"Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT", "ETag": '"1"'}


@contextmanager
def s3_like() -> Iterator[str]:
    """Serve S3 with a bucket `bodies`; give its URL."""
    with moto() as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="bodies")
        client.close()
        yield url


class _Handler(BaseHTTPRequestHandler):
    """What both have in common: objects are got, listed and deleted under /bodies/."""

    protocol_version = "HTTP/1.1"
    server: StoreLike

    def do_GET(self) -> None:
        name, query = self.asked()
        if name == "":
            self.answer(200, self.listed(query.get("prefix", "")).encode())
        elif name in self.server.objects:
            self.answer(200, self.server.objects[name])
        else:
            self.answer(404)

    def do_DELETE(self) -> None:
        name, _ = self.asked()
        self.answer(204 if self.server.objects.pop(name, None) is not None else 404)

    def listed(self, prefix: str) -> str:
        raise NotImplementedError

    def found(self, prefix: str) -> list[tuple[str, int]]:
        return [(name, len(body)) for name, body in sorted(self.server.objects.items()) if name.startswith(prefix)]

    def asked(self) -> tuple[str, dict[str, str]]:
        """Return the object's name and the query, once the body is read."""
        parts = urlsplit(self.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(parts.query, keep_blank_values=True)
        return unquote(parts.path).partition("/bodies")[2].lstrip("/"), {key: value[0] for key, value in query.items()}

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in LAST.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Azure(_Handler):
    def do_PUT(self) -> None:
        name, query = self.asked()
        if query.get("comp") == "block":
            self.server.parts[name, query["blockid"]] = self.body
        elif query.get("comp") == "blocklist":
            ids = re.findall(r"<(?:Uncommitted|Latest)>([^<]+)<", self.body.decode())
            self.server.objects[name] = b"".join(self.server.parts.pop((name, each)) for each in ids)
        else:
            self.server.objects[name] = self.body
        self.answer(201)

    def listed(self, prefix: str) -> str:
        items = "".join(
            f"<Blob><Name>{name}</Name><Properties><Last-Modified>{LAST['Last-Modified']}</Last-Modified>"
            f"<Content-Length>{size}</Content-Length><Content-Type>x</Content-Type></Properties></Blob>"
            for name, size in self.found(prefix)
        )
        return f"<EnumerationResults><Blobs>{items}</Blobs></EnumerationResults>"


class _Google(_Handler):
    def do_PUT(self) -> None:
        name, query = self.asked()
        if "partNumber" in query:
            self.server.parts[name, query["partNumber"]] = self.body
        else:
            self.server.objects[name] = self.body
        self.answer(200)

    def do_POST(self) -> None:
        name, query = self.asked()
        if "uploads" in query:
            self.answer(200, b"<R><Bucket>bodies</Bucket><Key>k</Key><UploadId>1</UploadId></R>")
            return
        numbers = re.findall(r"<PartNumber>(\d+)<", self.body.decode())
        self.server.objects[name] = b"".join(self.server.parts.pop((name, each)) for each in numbers)
        self.answer(200, b"<R><ETag>1</ETag></R>")

    def listed(self, prefix: str) -> str:
        items = "".join(
            f"<Contents><Key>{name}</Key><Size>{size}</Size><LastModified>2026-11-28T00:00:00.000Z</LastModified>"
            "<ETag>1</ETag></Contents>"
            for name, size in self.found(prefix)
        )
        return f"<R>{items}</R>"


class StoreLike(ThreadingHTTPServer):
    """A bucket or container `bodies`, in memory."""

    def __init__(self, handler: type[_Handler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[tuple[str, str], bytes] = {}


@contextmanager
def served(handler: type[_Handler]) -> Iterator[str]:
    """Serve a store; give its URL."""
    with StoreLike(handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def place(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the URL and options of a bucket or container of one of KINDS."""
    if kind == "s3":
        with s3_like() as url:
            yield "s3://bodies", {**LOCAL, **CREDENTIALS, "endpoint": url}
    elif kind == "gs":
        with served(_Google) as url:
            yield "gs://bodies", {**LOCAL, "service_account_key": json.dumps({**ACCOUNT, "gcs_base_url": url})}
    else:
        with served(_Azure) as url:
            yield "az://bodies", {**LOCAL, "account_name": "local", "account_key": KEY, "endpoint": f"{url}/local"}
