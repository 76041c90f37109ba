"""The page of the control face in a browser: what a person sees there, and does."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from polybus.localcloud.control.http import page

from .browser import BOUND, CHROMIUM, opened
from .conftest import TOKEN, Face

HTML = page()


def test_the_page_takes_nothing_from_elsewhere() -> None:
    for word in ("http:", "https:", "<script src", "@import", '<link rel="stylesheet'):
        assert word not in HTML


@pytest.mark.parametrize("face", ["aws"], indirect=True)
def test_the_page_needs_no_token_to_load_and_one_to_show(face: Face) -> None:
    face.control._page = HTML
    with urllib.request.urlopen(f"{face.control.url}/", timeout=60) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.read().decode() == HTML


def prepare(face: Face) -> None:
    """Have a queue with two messages and a dead letter, and a topic that gives to it."""
    kept = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    sqs = boto3.client("sqs", endpoint_url=face.server.url, **kept)
    sns = boto3.client("sns", endpoint_url=face.server.url, **kept)
    sqs.create_queue(QueueName="letters")
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:letters", "maxReceiveCount": 1}
    url = sqs.create_queue(QueueName="jobs", Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
    topic = sns.create_topic(Name="orders")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:000000000000:jobs")
    sqs.send_message(QueueUrl=url, MessageBody="a letter")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    sqs.receive_message(QueueUrl=url)
    for body in ("<b>one</b>", "two"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    sqs.receive_message(QueueUrl=url)
    sqs.close()
    sns.close()


ROW = "document.querySelector('tr[data-entity=\"jobs\"]')"
CELLS = f"[...{ROW}.querySelectorAll('td.n')].map(cell => cell.textContent).join()"
TEXTS = "[...document.querySelectorAll('#messages pre')].map(one => one.textContent).join('|')"


@pytest.mark.parametrize("face", ["aws"], indirect=True)
async def test_a_person_sees_looks_publishes_and_redrives(face: Face, tmp_path: Path, say: Callable) -> None:
    if CHROMIUM is None:
        say("The page of `local up --ui` was not looked at: there is no chromium on PATH")
        return
    face.control._page = HTML
    await asyncio.to_thread(prepare, face)
    async with asyncio.timeout(2 * BOUND), opened(f"{face.control.url}/#token={TOKEN}") as shown:
        assert await shown.until(f"{ROW} && {CELLS}") == "1,1,0,1"
        await shown.run(f"{ROW}.click()")
        assert await shown.until(TEXTS) == "<b>one</b>|two"
        assert await shown.run("document.querySelectorAll('#messages b').length") == 0
        states = "[...document.querySelectorAll('#messages .tag')].map(one => one.textContent).join()"
        assert await shown.run(states) == "in flight,waiting"
        await shown.run("document.getElementById('body').value = 'three'")
        await shown.run("document.getElementById('attributes').value = 'region=eu'")
        await shown.run("document.querySelector('#publish button').click()")
        assert await shown.until(f"({TEXTS}).includes('three') && {TEXTS}") == "<b>one</b>|two|three"
        await shown.run("document.getElementById('redrive').click()")
        assert await shown.until(f"{CELLS}.endsWith(',0') && {CELLS}") == "3,1,0,0"
        assert (await shown.picture()).startswith(b"\x89PNG")
        (tmp_path / "page.png").write_bytes(await shown.picture())
    found = await asyncio.to_thread(face.ask, "GET", "messages", {"entity": "jobs"})
    assert [one["body"] for one in found["messages"]] == ["<b>one</b>", "two", "three", "a letter"]
