"""Answers what it was told."""

import base64
import json
import os
import time
from pathlib import Path

from shared import WORDS


def lambda_handler(event, context):
    query = event["queryStringParameters"] or {}
    if "picture" in query:
        content = base64.b64encode(b"\x89PNG\x00\xff").decode()
        return {"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": content, "isBase64Encoded": True}
    if "meet" in query:
        return _meet(Path(query["meet"]), context.aws_request_id)
    told = {
        "event": event,
        "environment": dict(os.environ),
        "layer": WORDS,
        "pid": os.getpid(),
        "function": [context.function_name, context.invoked_function_arn, context.memory_limit_in_mb],
        "remaining": context.get_remaining_time_in_millis(),
    }
    cookies = {"Set-Cookie": ["a=1", "b=2"]}
    return {"statusCode": 201, "multiValueHeaders": cookies, "body": json.dumps(told, ensure_ascii=False)}


def _meet(room, name):
    """Come in and wait for a second one: only two that run at the same time ever leave with a 200."""
    (room / name).touch()
    patience = time.monotonic() + 15
    while len(list(room.iterdir())) < 2:
        if time.monotonic() > patience:
            return {"statusCode": 409, "body": "nobody came"}
        time.sleep(0.01)
    return {"statusCode": 200, "body": "met"}
