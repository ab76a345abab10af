"""A job of the simplest kind: the lines of a file, reversed."""

import hashlib
import json
import os

import boto3


def lambda_handler(event, context):
    s3 = boto3.client("s3")
    failures = []
    for record in event["Records"]:
        key = json.loads(record["body"])["detail"]["object"]["key"]
        if key.endswith("map.json"):
            continue
        content = s3.get_object(Bucket=os.environ["DATA_BUCKET"], Key=key)["Body"].read()
        if b"raise" in content:
            raise ValueError("cannot be read")
        if b"poison" in content:
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        work(s3, key, content, record)
    return {"batchItemFailures": failures}


def work(s3, key, content, record):
    mapping = read(s3, f"{key}.map.json")
    version = f"{hashlib.sha256(content + mapping).hexdigest()[:16]}-m1"
    target = f"{key.replace('inbox/', 'results/', 1)}/{version}/"
    lines = content.splitlines()
    manifest = {
        "rows_in": len(lines),
        "rows_used": len(lines),
        "rejected": 0,
        "mapping": mapping.decode(),
        "source": record["eventSourceARN"],
    }
    files = {"part-00000.jsonl": b"\n".join(line[::-1] for line in lines), "manifest.json": json.dumps(manifest).encode()}
    bad = b"refuse" in content
    for name, body in {**files, ("_FAILED" if bad else "_SUCCESS"): b""}.items():
        s3.put_object(Bucket=os.environ["DATA_BUCKET"], Key=target + name, Body=body)


def read(s3, key):
    try:
        return s3.get_object(Bucket=os.environ["DATA_BUCKET"], Key=key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return b""
