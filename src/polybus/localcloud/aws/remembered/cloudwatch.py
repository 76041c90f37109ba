"""Alarms, composite ones too, and dashboards: of this account, by region."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.remembered.service import Remembered, named, tag_list, tags_of
from polybus.localcloud.aws.remembered.shelf import Document, Shelf
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["CloudWatchService"]

# What the Query protocol brings as text, and the others with its type.
_WHOLE = {
    "ActionsSuppressorExtensionPeriod",
    "ActionsSuppressorWaitPeriod",
    "DatapointsToAlarm",
    "EvaluationPeriods",
    "Period",
}
# What a rule says of an alarm, by name or by ARN, in quotes or without where it has no blanks.
_STATE_OF = re.compile(r'\b(?:ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"([^"]*)"|([^\s()"]+))\s*\)')
_TRUTHS = {"ActionsEnabled", "ReturnData"}


class CloudWatchService(Remembered):
    """An alarm's state is INSUFFICIENT_DATA always: nothing is measured here.

    What is in a composite alarm's rule has to be there, and stays as long as it is.
    """

    name = "cloudwatch"

    def __init__(self, account: str, rows: Rows, timeline: Timeline) -> None:
        super().__init__(account, rows)
        self._timeline = timeline
        self._metric, self._composite = self.shelf("metric"), self.shelf("composite")
        self._dashboards = self.shelf("dashboard")
        self.actions = {
            "DeleteAlarms": self._delete,
            "DeleteDashboards": self._delete_dashboards,
            "DescribeAlarms": self._describe,
            "DisableAlarmActions": lambda call, params: self._enable(call, params, on=False),
            "EnableAlarmActions": lambda call, params: self._enable(call, params, on=True),
            "GetDashboard": self._get_dashboard,
            "ListDashboards": self._list_dashboards,
            "ListTagsForResource": lambda call, params: {"Tags": tag_list(self._tagged(params)[2])},
            "PutCompositeAlarm": self._put_composite,
            "PutDashboard": self._put_dashboard,
            "PutMetricAlarm": lambda call, params: self._put(call, params, self._metric),
            "TagResource": self._tag,
            "UntagResource": self._untag,
        }

    def _put_composite(self, call: Call, params: Params) -> dict[str, Any]:
        keys = {name: f"{call.region}/{name}" for name in _in_rule(named(params, "AlarmRule"))}
        if missing := [name for name, key in keys.items() if key not in self._metric and key not in self._composite]:
            text = f"Could not save the composite alarm as alarms [{', '.join(missing)}] in the alarm rule do not exist"
            raise AwsError("ValidationError", text)
        return self._put(call, params, self._composite)

    def _put(self, call: Call, params: Params, shelf: Shelf) -> dict[str, Any]:
        key = f"{call.region}/{named(params, 'AlarmName')}"
        before = shelf.get(key)
        alarm = _typed({name: value for name, value in params.items() if name != "Tags"})
        if alarm.get("ActionsEnabled") is None:
            alarm["ActionsEnabled"] = True
        # Tags are those of its making: an alarm that is put again keeps them (API reference, PutMetricAlarm).
        tags = tags_of(params.get("Tags")) if before is None else before["tags"]
        shelf.put(key, {"alarm": alarm, "tags": tags, "changed": self._timeline.now()})
        return {}

    def _describe(self, call: Call, params: Params) -> dict[str, Any]:
        kinds = params.get("AlarmTypes") or ["MetricAlarm"]
        answer: dict[str, Any] = {"MetricAlarms": [], "CompositeAlarms": []}
        for kind, shelf in (("MetricAlarm", self._metric), ("CompositeAlarm", self._composite)):
            if kind in kinds:
                found = list(shelf.items(f"{call.region}/{params.get('AlarmNamePrefix') or ''}"))
                names = params.get("AlarmNames")
                answer[f"{kind}s"] = [
                    self._shown(call, document)
                    for _, document in found
                    if not names or document["alarm"]["AlarmName"] in names
                ]
        return answer

    def _shown(self, call: Call, document: Document) -> dict[str, Any]:
        alarm = document["alarm"]
        return {
            "AlarmArn": self._arn(call.region, alarm["AlarmName"]),
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": call.time(document["changed"]),
            "AlarmConfigurationUpdatedTimestamp": call.time(document["changed"]),
            "OKActions": [],
            "AlarmActions": [],
            "InsufficientDataActions": [],
            **alarm,
        }

    def _delete(self, call: Call, params: Params) -> dict[str, Any]:
        names = list(params.get("AlarmNames") or ())
        composites = [document["alarm"] for _, document in self._composite.items(f"{call.region}/")]
        needed = {name for one in composites if one["AlarmName"] not in names for name in _in_rule(one["AlarmRule"])}
        if held := [name for name in names if name in needed]:
            them = "it" if len(held) == 1 else "them"
            text = f"Cannot delete {','.join(held)} as there are composite alarm(s) depending on {them}."
            raise AwsError("ValidationError", text)
        for name in names:
            self._metric.drop(f"{call.region}/{name}")
            self._composite.drop(f"{call.region}/{name}")
        return {}

    def _enable(self, call: Call, params: Params, *, on: bool) -> dict[str, Any]:
        for name in params.get("AlarmNames") or ():
            for shelf in (self._metric, self._composite):
                if document := shelf.get(f"{call.region}/{name}"):
                    document["alarm"]["ActionsEnabled"] = on
                    shelf.put(f"{call.region}/{name}", document)
        return {}

    # Tags -------------------------------------------------------------------------------------------------------------

    def _arn(self, region: str, name: str) -> str:
        return f"arn:aws:cloudwatch:{region}:{self.account}:alarm:{name}"

    def _tagged(self, params: Params) -> tuple[Shelf, str, Document]:
        arn = named(params, "ResourceARN").split(":", 6)
        key = f"{arn[3]}/{arn[6]}" if len(arn) == 7 else ""
        for shelf in (self._metric, self._composite):
            if document := shelf.get(key):
                return shelf, key, document
        raise AwsError("ResourceNotFoundException", "The named resource does not exist.", 404)

    def _tag(self, call: Call, params: Params) -> dict[str, Any]:
        shelf, key, document = self._tagged(params)
        document["tags"] |= tags_of(params.get("Tags"))
        shelf.put(key, document)
        return {}

    def _untag(self, call: Call, params: Params) -> dict[str, Any]:
        shelf, key, document = self._tagged(params)
        for name in params.get("TagKeys") or ():
            document["tags"].pop(name, None)
        shelf.put(key, document)
        return {}

    # Dashboards are of the account, in every region the same ---------------------------------------------------------

    def _put_dashboard(self, call: Call, params: Params) -> dict[str, Any]:
        body = {"body": named(params, "DashboardBody"), "changed": self._timeline.now()}
        self._dashboards.put(named(params, "DashboardName"), body)
        return {"DashboardValidationMessages": []}

    def _get_dashboard(self, call: Call, params: Params) -> dict[str, Any]:
        name = named(params, "DashboardName")
        document = self._dashboards.get(name)
        if document is None:
            raise AwsError("ResourceNotFound", f"Dashboard {name} does not exist", 404)
        return {"DashboardArn": self._place(name), "DashboardBody": document["body"], "DashboardName": name}

    def _list_dashboards(self, call: Call, params: Params) -> dict[str, Any]:
        entries = [
            {
                "DashboardName": name,
                "DashboardArn": self._place(name),
                "LastModified": call.time(document["changed"]),
                "Size": len(document["body"]),
            }
            for name, document in self._dashboards.items(params.get("DashboardNamePrefix") or "")
        ]
        return {"DashboardEntries": entries}

    def _place(self, name: str) -> str:
        return f"arn:aws:cloudwatch::{self.account}:dashboard/{name}"

    def _delete_dashboards(self, call: Call, params: Params) -> dict[str, Any]:
        names = params.get("DashboardNames") or ()
        if missing := [name for name in names if name not in self._dashboards]:
            raise AwsError("ResourceNotFound", f"Dashboard {missing[0]} does not exist", 404)
        for name in names:
            self._dashboards.drop(name)
        return {}


def _in_rule(rule: str) -> list[str]:
    """List the alarms that a composite alarm's rule names; an ARN ends with the name."""
    found = [quoted or plain for quoted, plain in _STATE_OF.findall(rule)]
    return [name.split(":", 6)[-1] if name.startswith("arn:") else name for name in found]


def _typed(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _typed(item, key) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    try:
        if name in _WHOLE:
            return int(value)
        if name == "Threshold":
            return float(value)
    except ValueError:
        raise AwsError("ValidationError", f"The value {str(value)[:80]} of {name} is no number.") from None
    return str(value).lower() == "true" if name in _TRUTHS else value
