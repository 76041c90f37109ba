"""Config.json of Microsoft's emulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import CorrelationFilter, ServiceBusServer, SqlFilter
from polybus.localcloud.servicebus.refusal import Refusal

QUEUE = {
    "Name": "queue.1",
    "Properties": {
        "DeadLetteringOnMessageExpiration": True,
        "DefaultMessageTimeToLive": "PT1H",
        "DuplicateDetectionHistoryTimeWindow": "PT20S",
        "ForwardDeadLetteredMessagesTo": "",
        "ForwardTo": "",
        "LockDuration": "PT1M30S",
        "MaxDeliveryCount": 3,
        "RequiresDuplicateDetection": True,
        "RequiresSession": True,
    },
}
SQL = {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "n = 1"}, "Action": {"SqlExpression": "SET n = 2"}}
CORRELATION = {
    "FilterType": "Correlation",
    "CorrelationFilter": {"Subject": "news", "ContentType": "text/plain", "Properties": {"k": "v"}},
}
TOPIC = {
    "Name": "topic.1",
    "Properties": {"DefaultMessageTimeToLive": "PT1H", "RequiresDuplicateDetection": False},
    "Subscriptions": [
        {"Name": "all", "Properties": {"LockDuration": "PT5S"}},
        {
            "Name": "some",
            "Properties": {},
            "Rules": [{"Name": "sql", "Properties": SQL}, {"Name": "cor", "Properties": CORRELATION}],
        },
    ],
}


def write(path: Path, *queues: object) -> Path:
    space = {"Name": "sbemulatorns", "Queues": list(queues), "Topics": [TOPIC]}
    path.write_text(json.dumps({"UserConfig": {"Namespaces": [space], "Logging": {"Type": "File"}}}))
    return path


def test_entities_are_created_as_the_file_says(tmp_path: Path) -> None:
    config = write(tmp_path / "Config.json", QUEUE)
    with running_in_thread(ServiceBusServer(config=config)) as server:
        options = server.entities.options("queue.1")
        assert (options.lock_duration, options.max_delivery_count, options.default_ttl) == (90.0, 3, 3600.0)
        assert (options.requires_session, options.detects_duplicates, options.forward_to) == (True, True, None)
        assert server.entities.subscriptions("topic.1") == ["all", "some"]
        rules = {rule.name: rule for rule in server.entities.rules("topic.1", "some")}
        assert (rules["sql"].filter, rules["sql"].action) == (SqlFilter("n = 1"), "SET n = 2")
        assert rules["cor"].filter == CorrelationFilter({"Label": "news", "ContentType": "text/plain"}, {"k": "v"})


def test_a_wrong_file_says_what_is_wrong(tmp_path: Path) -> None:
    config = write(tmp_path / "Config.json", {"Name": "q", "Properties": {"Nonsense": 1}})
    with pytest.raises(Refusal, match="'Nonsense' of 'q'"), running_in_thread(ServiceBusServer(config=config)):
        raise AssertionError("it started")
    config.write_text("{}")
    with pytest.raises(ValueError, match=r"UserConfig\.Namespaces"), running_in_thread(ServiceBusServer(config=config)):
        raise AssertionError("it started")
