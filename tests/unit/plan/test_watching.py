"""What each cloud's plan watches: alarms, who hears of them, a dashboard."""

from __future__ import annotations

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.drift import compare
from polybus.plan.values import Ref

from .shop import ALARMS, by_name, topology


def test_aws_watches_what_the_topology_asks_for() -> None:
    found = by_name(aws.plan(topology(ALARMS)))
    letters = found["billing-letters-alarm"].properties
    assert (letters["threshold"], letters["dimensions"]) == (2, {"QueueName": "shop-billing-dead-letters.fifo"})
    assert letters["alarm_actions"] == [Ref("bus.alarms-topic", "arn")]
    assert found["billing-age-alarm"].properties["threshold"] == 300
    assert found["billing-backlog-alarm"].properties["threshold"] == 50
    widgets = found["dashboard"].properties["dashboard_body"].value["widgets"]
    assert [widget["properties"]["title"] for widget in widgets] == ["billing", "fast", "jobs"]
    assert {widget["properties"]["region"] for widget in widgets} == {Ref("region", "region")}
    there = by_name(aws.plan(topology(ALARMS), aws.AwsSettings(region="eu-west-1")))["dashboard"].properties
    assert there["dashboard_body"].value["widgets"][0]["properties"]["region"] == "eu-west-1"
    assert not [name for name in by_name(aws.plan(topology())) if "alarm" in name]


def test_aws_lets_cloudwatch_alone_publish_alarms_and_uses_no_key_that_it_may_not_use() -> None:
    found = by_name(aws.plan(topology(ALARMS)))
    assert found["bus.alarms-topic"].properties.get("kms_master_key_id") is None
    allow, deny = found["bus.alarms-access"].properties["policy"].value["Statement"]
    assert (allow["Principal"], allow["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    assert allow["Condition"] == {"StringEquals": {"aws:SourceAccount": Ref("bus.alarms-topic", "owner")}}
    assert deny["Effect"] == "Deny"
    key = "arn:aws:kms:eu-west-1:1:key/k"
    keyed = by_name(aws.plan(topology(ALARMS), aws.AwsSettings(kms_key=key)))
    assert keyed["bus.alarms-topic"].properties["kms_master_key_id"] == key


METRICS = {
    # "Available CloudWatch metrics for Amazon SQS", "Monitoring Amazon SNS topics using CloudWatch"
    "letters": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),
    "age": ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum"),
    "backlog": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),
    "undelivered": ("AWS/SNS", "NumberOfNotificationsFailed", "Sum"),
    "lost": ("AWS/SNS", "NumberOfNotificationsFailedToRedriveToDlq", "Sum"),
}


def test_aws_asks_cloudwatch_for_metrics_that_it_has() -> None:
    push = '[subscriptions.mail]\ntopic = "news"\npush = { email = "a@b.c" }\n'
    alarms = [item for item in aws.plan(topology(push + ALARMS)).resources if item.type.endswith(":MetricAlarm")]
    for alarm in alarms:
        given = alarm.properties
        kind = alarm.name.split("-")[-2]
        assert (given["namespace"], given["metric_name"], given["statistic"]) == METRICS[kind], alarm.name
        assert given["treat_missing_data"] == "notBreaching"
        assert given["period"] % 60 == 0
    assert {"news-undelivered-alarm", "news-lost-alarm", "mail-letters-alarm"} <= {alarm.name for alarm in alarms}
    assert "mail-age-alarm" not in {alarm.name for alarm in alarms}


def test_aws_watches_every_topic_that_has_subscriptions() -> None:
    found = by_name(aws.plan(topology("[topics.quiet]\n" + ALARMS)))
    assert found["orders-undelivered-alarm"].properties["dimensions"] == {"TopicName": Ref("orders-topic", "name")}
    assert {"news-undelivered-alarm", "quiet-undelivered-alarm"}.isdisjoint(found)
    assert found["orders-lost-alarm"].properties["threshold"] == 1


def test_gcp_lets_cloud_monitoring_publish_to_the_topic_of_alarms() -> None:
    told = '[alarms]\nnotify = { topic = "projects/p/topics/ops" }\n'
    grant = by_name(gcp.plan(topology(told), gcp.GcpSettings(project="p", project_number="42")))[
        "bus.alarms-topic-agent"
    ]
    assert grant.properties["topic"] == "projects/p/topics/ops"
    assert grant.properties["role"] == "roles/pubsub.publisher"
    agent = "".join(str(part) for part in grant.properties["member"].parts)
    assert agent == "serviceAccount:service-42@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
    assert grant.after == ("bus.alarms-topic",)
    result = compare((grant,), ())  # the topic isn't the bus's, so nobody looks at it
    assert (result.drifts, result.unread) == ((), {"alarm": 1})


def test_gcp_watches_failed_pushes_and_labels_what_it_makes() -> None:
    push = '[subscriptions.hook]\ntopic = "news"\npush = { https = "https://a.b" }\n'
    found = by_name(gcp.plan(topology(push + ALARMS), gcp.GcpSettings(stack="dev", labels={"team": "Shop"})))
    pushes = found["hook-pushes-alarm"].properties
    condition = pushes["conditions"][0]["condition_threshold"]
    assert 'metric.type = "pubsub.googleapis.com/subscription/push_request_count"' in condition["filter"]
    assert condition["filter"].endswith(' AND metric.labels.response_class != "ack"')
    assert condition["aggregations"][0]["per_series_aligner"] == "ALIGN_DELTA"
    assert pushes["display_name"] == "shop-dev-hook-pushes"
    assert pushes["user_labels"] == {"polybus-bus": "shop", "polybus-stack": "dev", "team": "shop"}
    charts = found["dashboard"].properties["dashboard_json"].value["gridLayout"]["widgets"]
    lines = {chart["title"]: [line["legendTemplate"] for line in chart["xyChart"]["dataSets"]] for chart in charts}
    assert lines["jobs"] == ["waiting", "dead letters", "oldest, s"]
    assert lines["hook"] == [*lines["jobs"], "failed pushes"]


def test_azure_and_gcp_watch_too() -> None:
    alert = by_name(azure.plan(topology(ALARMS)))["orders-letters-alarm"].properties
    assert alert["criteria"]["allOf"][0]["threshold"] == 2
    assert alert["actions"] == [{"action_group_id": Ref("bus.alarms-group", "id")}]
    policy = by_name(gcp.plan(topology(ALARMS)))["billing-letters-alarm"].properties
    condition = policy["conditions"][0]["condition_threshold"]
    assert (condition["comparison"], condition["threshold_value"]) == ("COMPARISON_GT", 1)
    assert policy["notification_channels"] == [Ref("bus.alarms-email", "id")]


def test_azure_shows_what_waits_and_what_is_dead_of_every_topic_and_queue() -> None:
    plan = azure.plan(topology(ALARMS), azure.AzureSettings(namespace="shop-bus"))
    dashboard = by_name(plan)["dashboard"].properties
    (lens,) = dashboard["properties"]["lenses"]
    charts = [part["metadata"]["settings"]["content"]["options"]["chart"] for part in lens["parts"]]
    assert [(chart["title"], chart["filterCollection"]["filters"][0]["values"]) for chart in charts] == [
        ("orders", [Ref("orders-topic", "name")]),
        ("jobs", [Ref("jobs-queue", "name")]),
    ]
    assert {metric["name"] for chart in charts for metric in chart["metrics"]} == {
        "ActiveMessages",
        "DeadletteredMessages",
    }
    places = [(part["position"]["x"], part["position"]["y"]) for part in lens["parts"]]
    assert places == [(0, 0), (6, 0)]
    assert "dashboard" not in by_name(azure.plan(topology()))
