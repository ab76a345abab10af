"""``publish``, ``promote``, ``rollback``, ``list``: bundles in the model store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from personalization.core.errors import InvalidInput, NotFound
from training.cli.arguments import bundle_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_STACK_OUTPUT: Final = "ModelsBucket"  # of template.yaml


def add(commands: Any) -> None:
    """Add the four commands."""
    publish = commands.add_parser("publish", help="upload a bundle to the model store; it serves after promote")
    publish.add_argument("directory", type=Path, metavar="DIR")
    publish.add_argument("--force", action="store_true", help="also where baselines are better on validation")
    promote = commands.add_parser("promote", help="make a published version the one that serves")
    promote.add_argument("name", type=bundle_name, metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    promote.add_argument("--share", type=float, metavar="S", help="as a challenger, for this share of the users")
    rollback = commands.add_parser("rollback", help="return to the previous version")
    rollback.add_argument("name", type=bundle_name, metavar="NAME")
    listing = commands.add_parser("list", help="list the published versions, and which of them serve")
    listing.add_argument("name", type=bundle_name, nargs="?", metavar="NAME")
    for parser, run in ((publish, _publish), (promote, _promote), (rollback, _rollback), (listing, _list)):
        parser.set_defaults(run=run)
        parser.add_argument("--store", metavar="s3://BUCKET", help="default: $MODEL_STORE")
        parser.add_argument("--stack", metavar="NAME", help="a deployed stack, whose outputs name the bucket")


def _publish(arguments: argparse.Namespace) -> None:
    from personalization.bundles import publish
    from personalization.bundles.bundle import load_bundle
    from training.gate import assert_beats_baselines

    if not arguments.force:
        assert_beats_baselines(load_bundle(arguments.directory).manifest)
    s3, bucket = _store(arguments)
    print(publish(s3, bucket, arguments.directory))


def _promote(arguments: argparse.Namespace) -> None:
    from personalization.bundles import promote

    s3, bucket = _store(arguments)
    pointer = promote(s3, bucket, arguments.name, arguments.version, challenger_share=arguments.share)
    if pointer.challenger:
        share = pointer.challenger.share
        print(f"{arguments.name}: {pointer.current.version}; {pointer.challenger.version} serves {share:.0%} of the users")
    else:
        print(f"{arguments.name}: {pointer.current.version}")


def _rollback(arguments: argparse.Namespace) -> None:
    from personalization.bundles import rollback

    s3, bucket = _store(arguments)
    print(f"{arguments.name}: {rollback(s3, bucket, arguments.name).current.version}")


def _list(arguments: argparse.Namespace) -> None:
    from personalization.bundles import list_versions

    s3, bucket = _store(arguments)
    for listing in list_versions(s3, bucket, arguments.name):
        print(f"{listing.name:24} {listing.version} {listing.role}".rstrip())


def _store(arguments: argparse.Namespace) -> tuple[S3Client, str]:
    """A client and the bucket. AWS_ENDPOINT_URL, region and credentials are boto3's own affair."""
    import boto3

    if arguments.stack:
        return boto3.client("s3"), _bucket_of_stack(boto3.client("cloudformation"), arguments.stack)
    store = arguments.store or os.environ.get("MODEL_STORE", "")
    if not store:
        raise InvalidInput("expected --store s3://BUCKET, --stack NAME, or the environment variable MODEL_STORE")
    return boto3.client("s3"), parse_store(store)


def parse_store(text: str) -> str:
    """The bucket of ``s3://BUCKET``. Raises `InvalidInput` for anything else: keys in it are the project's own."""
    parts = urlsplit(text)
    if parts.scheme != "s3" or not parts.netloc or parts.path.strip("/"):
        raise InvalidInput(f"expected a store such as s3://my-models, received {text!r}")
    return parts.netloc


def _bucket_of_stack(cloudformation: Any, name: str) -> str:
    from botocore.exceptions import ClientError

    try:
        outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
    except ClientError as error:
        raise NotFound(f"the stack {name!r} cannot be read: {error.response.get('Error', {}).get('Message')}") from None
    for output in outputs:
        if output["OutputKey"] == _STACK_OUTPUT:
            return str(output["OutputValue"])
    raise NotFound(f"expected the stack {name!r} to have an output {_STACK_OUTPUT}")
