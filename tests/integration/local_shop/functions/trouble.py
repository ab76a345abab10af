"""Goes wrong as asked."""

import os
import time


def lambda_handler(event, context):
    kind = event["pathParameters"]["kind"]
    if kind == "raise":
        raise KeyError("a handler's own mistake")
    if kind == "sleep":
        time.sleep(60)
    if kind == "die":
        os._exit(3)
    if kind == "mumble":
        return "no proxy response"
    if kind == "nan":
        return {"statusCode": 200, "body": float("nan")}
    return {"statusCode": 200, "body": str(os.getpid())}
