"""All queues: finding, creating, deleting them, and bringing them back after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polybus.localcloud.aws.arn import Arn, queue_name_from_url
from polybus.localcloud.aws.errors import AwsError, invalid_value, missing_parameter, no_queue
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sqs.dedup import TABLE as DEDUP
from polybus.localcloud.aws.sqs.dedup import Seen
from polybus.localcloud.aws.sqs.fifo import FifoQueue
from polybus.localcloud.aws.sqs.message import Message
from polybus.localcloud.aws.sqs.queue import MESSAGES, Queue
from polybus.localcloud.aws.sqs.sampling import Sampler
from polybus.localcloud.aws.sqs.settings import Settings, as_given, check_name, is_queue_name
from polybus.localcloud.aws.timeline import Timeline
from polybus.localcloud.events import Events

__all__ = ["QUEUES", "Queues"]

QUEUES = "sqs.queue"


class Queues:
    """The queues of one account in every region; `sampler` hands out what standard queues hold in any order."""

    def __init__(self, account: str, rows: Rows, timeline: Timeline, sampler: Sampler | None = None) -> None:
        self.account = account
        self.rows = rows
        self.timeline = timeline
        self.events = Events()
        self._sampler = sampler
        self._by_arn: dict[str, Queue] = {}

    def load(self) -> None:
        """Bring back what was kept; called once, before the first request."""
        by_uid: dict[str, Queue] = {}
        for arn, uid, given, tags, created, modified in self.rows.load(QUEUES):
            parsed = Arn.parse(arn)
            if parsed is None:
                raise ValueError(f"the data folder names a queue {arn!r}, which is no ARN: remove the folder")
            queue = self._build(parsed, uid, Settings(given, fifo=parsed.resource.endswith(".fifo")), tags)
            queue.created, queue.modified = created, modified
            self.timeline.not_before(int(uid, 16))
            self._by_arn[queue.arn_text] = by_uid[uid] = queue
        for row in self.rows.load(MESSAGES):
            message = Message.from_row(row)
            self.timeline.not_before(message.order)
            by_uid[message.queue].restore(message)
        for seen in sorted((Seen(*row) for row in self.rows.load(DEDUP)), key=lambda seen: seen.until):
            owner = by_uid.get(seen.owner.removeprefix("sqs/"))
            if isinstance(owner, FifoQueue):
                owner.dedup.restore(seen)

    def observe(self, events: Events) -> None:
        """Tell what happens to messages from now on."""
        self.events = events
        for queue in self.all():
            queue.events = events

    def arn(self, region: str, name: str) -> Arn:
        return Arn("sqs", region, self.account, name)

    def all(self) -> Iterator[Queue]:
        """Yield every queue, in the order of creation."""
        return iter(self._by_arn.values())

    def by_arn(self, arn: str) -> Queue | None:
        return self._by_arn.get(arn)

    def get(self, region: str, url: object) -> Queue:
        """Return the queue of a URL; raises AwsError where there is none."""
        if not url:
            raise missing_parameter("QueueUrl")
        # A queue's bare name is taken for its URL too (recorded).
        name = url if isinstance(url, str) and is_queue_name(url) else queue_name_from_url(url)
        if name is None:
            raise AwsError("InvalidAddress", f"The address {str(url)[:200]} is not valid for this endpoint.", 404)
        queue = self._by_arn.get(str(self.arn(region, name)))
        if queue is None:
            raise no_queue()
        return queue

    def create(self, region: str, name: object, given: Mapping[str, str], tags: dict[str, str]) -> Queue:
        """Create a queue, or return the one that has this name and none of these attributes otherwise."""
        given = as_given(given)
        fifo = given.get("FifoQueue") == "true"
        arn = self.arn(region, check_name(name, fifo))
        if "FifoQueue" in given and not fifo:
            raise AwsError("InvalidAttributeName", "Unknown Attribute FifoQueue.")  # SQS knows no `false` here
        settings = Settings(given, fifo=fifo)
        existing = self._by_arn.get(str(arn))
        if existing is not None:
            if different := existing.settings.differs(settings):
                found = f"same name and a different value for attribute {different}"
                raise AwsError("QueueAlreadyExists", f"A queue already exists with the {found}")
            return existing
        self.check_redrive(arn, settings)
        queue = self._build(arn, f"{self.timeline.order():x}", settings, tags)
        self._by_arn[queue.arn_text] = queue
        self.rows.save(QUEUES, queue)
        return queue

    def delete(self, queue: Queue) -> None:
        """Delete a queue and all that is in it, at once."""
        queue.clear()
        queue.gone = True
        del self._by_arn[queue.arn_text]
        self.rows.drop(QUEUES, queue)
        queue.waiters.wake_all()

    def change(self, queue: Queue, changes: Mapping[str, str]) -> None:
        """Change a queue's attributes; raises AwsError, and changes nothing, where one is not allowed."""
        settings = queue.settings.changed(changes)
        if "RedrivePolicy" in changes:
            self.check_redrive(queue.arn, settings)
        queue.settings = settings
        self.saved(queue)

    def saved(self, queue: Queue) -> None:
        """Keep what was changed on a queue."""
        queue.modified = self.timeline.now()
        self.rows.save(QUEUES, queue)

    def check_redrive(self, source: Arn, settings: Settings) -> None:
        """Refuse a redrive policy whose target is missing, of the other type, elsewhere or not willing."""
        target = settings.dead_letters
        if target is None:
            return
        document = settings.given["RedrivePolicy"]
        queue = self._by_arn.get(str(target))
        if (target.region, target.account) != (source.region, source.account):
            raise invalid_value(document, "RedrivePolicy", "Dead letter target must be of this account and region.")
        if queue is None:
            raise invalid_value(document, "RedrivePolicy", "Dead letter target does not exist.")
        if queue.fifo != settings.fifo:
            reason = "Dead-letter queue must be same type of queue as the source."
            raise invalid_value(document, "RedrivePolicy", reason)
        permission, sources = queue.settings.redrive_permission, queue.settings.redrive_sources
        if permission == "denyAll" or (permission == "byQueue" and str(source) not in sources):
            reason = f"The dead-letter queue's RedriveAllowPolicy does not allow {source}."
            raise invalid_value(document, "RedrivePolicy", reason)

    def sources_of(self, target: Queue) -> list[Queue]:
        """Return the queues whose dead letters go to `target`."""
        return [queue for queue in self.all() if str(queue.settings.dead_letters) == target.arn_text]

    def _build(self, arn: Arn, uid: str, settings: Settings, tags: dict[str, str]) -> Queue:
        kind = FifoQueue if settings.fifo else Queue
        queue = kind(arn, uid, settings, tags=tags, rows=self.rows, timeline=self.timeline)
        queue.sampler = None if settings.fifo else self._sampler
        queue.events = self.events
        return queue
