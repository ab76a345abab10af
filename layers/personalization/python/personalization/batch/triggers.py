"""From the body of a queue message to the objects it tells of: EventBridge's shape, and that of S3's own notifications."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from personalization.batch.jobs import ObjectRef
from personalization.core.errors import InvalidInput

_CREATED: Final = "Object Created"


def object_refs(body: str) -> list[ObjectRef]:
    """The objects whose creation a message tells; none for a test event, or an event of another kind.

    Raises `InvalidInput` for a body of neither shape.
    """
    try:
        event = orjson.loads(body)
        if not isinstance(event, dict):
            raise TypeError(type(event).__name__)
        if event.get("Event") == "s3:TestEvent":
            return []
        if "detail-type" in event:
            return [_of_event_bridge(event)] if event["detail-type"] == _CREATED else []
        return [_of_notification(record) for record in event["Records"] if _is_creation(record)]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"expected an S3 event as a message, received something else ({type(error).__name__})") from None


def _of_event_bridge(event: dict[str, Any]) -> ObjectRef:
    detail = event["detail"]
    return ObjectRef(str(detail["bucket"]["name"]), str(detail["object"]["key"]))  # the key is as it is


def _is_creation(record: dict[str, Any]) -> bool:
    return str(record["eventName"]).removeprefix("s3:").startswith("ObjectCreated:")


def _of_notification(record: dict[str, Any]) -> ObjectRef:
    content = record["s3"]
    return ObjectRef(str(content["bucket"]["name"]), unquote_plus(str(content["object"]["key"])))  # URL-encoded, blanks as +
