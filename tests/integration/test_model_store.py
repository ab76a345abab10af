"""Publishing, promoting, rolling back and reading models, with an S3 that also fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from botocore.exceptions import ClientError

from personalization.bundles import ModelStore, list_versions, promote, publish, read_pointer, rollback
from personalization.bundles.bundle import BUNDLE_JSON, MODEL_ONNX, load_bundle
from personalization.bundles.pointer import bundle_key, hash_fraction, pointer_key
from personalization.core.encoder import Column, TableEncoder
from personalization.core.errors import BundleInvalid, Conflict, InvalidInput, ModelUnavailable, NotFound
from tests.support import Clock
from training.bundle_writer import start_bundle, write_bundle
from training.export import constant_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "ads-table"
BUCKET = os.environ["MODELS_BUCKET"]


def write(directory: Path, rate: float) -> str:
    """A base-rate bundle that answers `rate`; its version."""
    start_bundle(directory)
    constant_model(directory / MODEL_ONNX, {"numeric": (1, "float32")}, {"probability": rate})
    (directory / "report.html").write_text("<p>nothing to see</p>")
    encoder = TableEncoder((Column("clicks", "numeric"),))
    return write_bundle(
        directory, name=NAME, kind="table", model="base-rate", metrics={"test": {}}, started=0.0, encoder=encoder
    )


@pytest.fixture
def versions(s3: S3Client, tmp_path: Path) -> dict[float, str]:
    """Two published versions by the rate that they answer, neither promoted."""
    for rate in (0.25, 0.75):
        write(tmp_path / str(rate), rate)
    return {rate: publish(s3, BUCKET, tmp_path / str(rate)) for rate in (0.25, 0.75)}


class Reader:
    """A model store with its own clock, and the rate that its model answers."""

    def __init__(self, s3: S3Client, cache: Path) -> None:
        self.clock, self.failures = Clock(0.0), list[str]()
        self.store = ModelStore(s3, BUCKET, NAME, cache_dir=cache, ttl=60.0, clock=self.clock, on_failure=self.failures.append)

    def rate(self, user_id: str | None = None) -> float:
        return float(self.store.choose(user_id)[0].run({"numeric": np.zeros((1, 1), np.float32)})["probability"][0])


@pytest.fixture
def reader(s3: S3Client, tmp_path: Path) -> Reader:
    return Reader(s3, tmp_path / "cache")


def test_publishing_does_not_promote(s3: S3Client, versions: dict[float, str], reader: Reader) -> None:
    with pytest.raises(ModelUnavailable, match="no version was promoted"):
        reader.rate()
    assert [(v.version, v.role) for v in list_versions(s3, BUCKET)] == [(v, "") for v in sorted(versions.values())]


def test_publishing_again_changes_nothing(s3: S3Client, versions: dict[float, str], tmp_path: Path) -> None:
    before = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert publish(s3, BUCKET, tmp_path / "0.25") == versions[0.25]
    assert s3.list_objects_v2(Bucket=BUCKET)["Contents"] == before


def test_a_version_is_never_overwritten(s3: S3Client, versions: dict[float, str], tmp_path: Path) -> None:
    key = bundle_key(NAME, versions[0.25], MODEL_ONNX)
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"somebody else's", Metadata={"sha256": "0"})
    with pytest.raises(Conflict, match="other content"):
        publish(s3, BUCKET, tmp_path / "0.25")


def test_promote_and_roll_back(s3: S3Client, versions: dict[float, str], reader: Reader) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    assert reader.rate() == pytest.approx(0.25)
    promote(s3, BUCKET, NAME, versions[0.75])
    assert reader.rate() == pytest.approx(0.25), "the pointer is read again after the TTL"
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.75)
    rollback(s3, BUCKET, NAME)
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.25)
    rollback(s3, BUCKET, NAME)
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.75), "a second rollback returns"


def test_what_cannot_be_promoted(s3: S3Client, versions: dict[float, str]) -> None:
    with pytest.raises(NotFound, match="20000101T000000Z-00000000"):
        promote(s3, BUCKET, NAME, "20000101T000000Z-00000000")
    with pytest.raises(NotFound, match="no previous"):
        rollback(s3, BUCKET, NAME)
    with pytest.raises(InvalidInput, match="promote one first"):
        promote(s3, BUCKET, NAME, versions[0.25], challenger_share=0.5)


def test_two_promotions_at_once_one_wins(s3: S3Client, versions: dict[float, str], monkeypatch: pytest.MonkeyPatch) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    real = s3.put_object

    def somebody_is_faster(**arguments: Any) -> Any:
        monkeypatch.setattr(s3, "put_object", real)
        promote(s3, BUCKET, NAME, versions[0.75])
        return real(**arguments)

    monkeypatch.setattr(s3, "put_object", somebody_is_faster)
    with pytest.raises(Conflict, match="somebody else"):
        promote(s3, BUCKET, NAME, versions[0.25])
    pointer = read_pointer(s3, BUCKET, NAME)
    assert pointer is not None
    assert pointer.current.version == versions[0.75]


def test_a_challenger_gets_its_share_and_users_stay(s3: S3Client, versions: dict[float, str], reader: Reader) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    promote(s3, BUCKET, NAME, versions[0.75], challenger_share=0.3)
    users = [f"u{i}" for i in range(400)]
    rates = [reader.rate(user) for user in users]
    assert rates == [reader.rate(user) for user in users]
    expected = [0.75 if hash_fraction(user, NAME) < 0.3 else 0.25 for user in users]
    assert rates == pytest.approx(expected)
    assert 0.2 < np.mean(np.array(rates) > 0.5) < 0.4
    assert reader.rate(None) == pytest.approx(0.25), "without a user the champion serves"


def test_one_conditional_get_a_ttl(
    s3: S3Client, versions: dict[float, str], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    reader.rate()
    requests: list[dict[str, Any]] = []
    real = s3.get_object
    monkeypatch.setattr(s3, "get_object", lambda **arguments: (requests.append(arguments), real(**arguments))[1])
    for _ in range(5):
        reader.rate()
    assert requests == []
    reader.clock.go_on(61)
    for _ in range(5):
        reader.rate()
    assert [(call["Key"], "IfNoneMatch" in call) for call in requests] == [(pointer_key(NAME), True)]


def flip_a_byte(s3: S3Client, key: str) -> None:
    body = bytearray(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    body[len(body) // 2] ^= 0xFF
    s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))


@pytest.mark.parametrize(
    "damage",
    ["flip model", "flip manifest", "manifest of another shape", "model gone", "pointer is no JSON", "pointer gone"],
)
def test_the_last_good_model_goes_on_serving(s3: S3Client, versions: dict[float, str], reader: Reader, damage: str) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    assert reader.rate() == pytest.approx(0.25)
    match damage:
        case "flip model":
            flip_a_byte(s3, bundle_key(NAME, versions[0.75], MODEL_ONNX))
        case "flip manifest":
            promote(s3, BUCKET, NAME, versions[0.75])
            flip_a_byte(s3, bundle_key(NAME, versions[0.75], BUNDLE_JSON))
        case "manifest of another shape":
            key = bundle_key(NAME, versions[0.75], BUNDLE_JSON)
            manifest = orjson.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
            s3.put_object(Bucket=BUCKET, Key=key, Body=orjson.dumps(manifest | {"files": list(manifest["files"])}))
        case "model gone":
            s3.delete_object(Bucket=BUCKET, Key=bundle_key(NAME, versions[0.75], MODEL_ONNX))
    match damage:
        case "pointer is no JSON":
            s3.put_object(Bucket=BUCKET, Key=pointer_key(NAME), Body=b"latest please")
        case "pointer gone":
            s3.delete_object(Bucket=BUCKET, Key=pointer_key(NAME))
        case "flip model" | "model gone" | "manifest of another shape":
            promote(s3, BUCKET, NAME, versions[0.75])
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.25)
    assert len(reader.failures) == 1
    assert reader.store.failure
    reader.rate()
    assert len(reader.failures) == 1, "S3 is left alone for a while"
    # Mended, the new version serves without a restart.
    s3.delete_object(Bucket=BUCKET, Key=pointer_key(NAME))
    promote(s3, BUCKET, NAME, versions[0.25])
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.25)
    assert reader.store.failure == ""


def test_a_cold_function_keeps_the_files_of_champion_and_challenger(
    s3: S3Client, versions: dict[float, str], reader: Reader
) -> None:
    """Bundles read some files when they are first needed, after both were loaded."""
    promote(s3, BUCKET, NAME, versions[0.25])
    promote(s3, BUCKET, NAME, versions[0.75], challenger_share=0.5)
    bundles = {variant: bundle for bundle, variant in (reader.store.choose(f"u{i}") for i in range(20))}
    assert {variant: bundle.version for variant, bundle in bundles.items()} == {
        "champion": versions[0.25],
        "challenger": versions[0.75],
    }
    for bundle in bundles.values():
        assert bundle.file("report.html").read_text() == "<p>nothing to see</p>"


def test_a_challenger_that_is_damaged_leaves_all_users_to_the_champion(
    s3: S3Client, versions: dict[float, str], reader: Reader
) -> None:
    key = bundle_key(NAME, versions[0.75], MODEL_ONNX)
    promote(s3, BUCKET, NAME, versions[0.25])
    promote(s3, BUCKET, NAME, versions[0.75], challenger_share=0.5)
    flip_a_byte(s3, key)
    assert {reader.rate(f"u{i}") for i in range(20)} == {0.25}
    assert "model.onnx" in reader.store.failure
    flip_a_byte(s3, key)  # mended, it gets its share without a restart
    reader.clock.go_on(5)
    assert {reader.rate(f"u{i}") for i in range(20)} == {0.25, 0.75}
    assert reader.store.failure == ""


def test_a_challenger_that_was_damaged_is_gone_after_a_rollback(
    s3: S3Client, versions: dict[float, str], reader: Reader
) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    without = s3.get_object(Bucket=BUCKET, Key=pointer_key(NAME))["Body"].read()
    reader.rate()
    flip_a_byte(s3, bundle_key(NAME, versions[0.75], MODEL_ONNX))
    promote(s3, BUCKET, NAME, versions[0.75], challenger_share=0.5)
    reader.clock.go_on(61)
    reader.rate()
    assert reader.store.failure
    s3.put_object(Bucket=BUCKET, Key=pointer_key(NAME), Body=without)  # the same bytes have the same ETag
    reader.clock.go_on(61)
    assert (reader.rate(), reader.store.failure) == (pytest.approx(0.25), "")


def test_a_model_that_cannot_be_loaded_is_tried_less_and_less_often(
    s3: S3Client, versions: dict[float, str], reader: Reader
) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    reader.rate()
    flip_a_byte(s3, bundle_key(NAME, versions[0.75], MODEL_ONNX))
    promote(s3, BUCKET, NAME, versions[0.75])
    tried_after = []
    reader.clock.go_on(60)
    for second in range(200):
        before = len(reader.failures)
        assert reader.rate() == pytest.approx(0.25)
        if len(reader.failures) > before:
            tried_after.append(second)
        reader.clock.go_on(1)
    assert tried_after == [0, 5, 15, 35, 75, 135, 195], "twice as long each time, at most the TTL"


def test_a_cached_copy_that_was_damaged_is_fetched_anew(
    s3: S3Client, versions: dict[float, str], reader: Reader, tmp_path: Path
) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    reader.rate()
    (tmp_path / "cache" / NAME / versions[0.25] / MODEL_ONNX).write_bytes(b"half a mod")
    assert Reader(s3, tmp_path / "cache").rate() == pytest.approx(0.25)


def test_a_throttling_store_keeps_the_model(
    s3: S3Client, versions: dict[float, str], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(s3, BUCKET, NAME, versions[0.25])
    reader.rate()

    def slow_down(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": "Reduce your request rate."}}, "GetObject")

    monkeypatch.setattr(s3, "get_object", slow_down)
    reader.clock.go_on(61)
    assert reader.rate() == pytest.approx(0.25)
    assert reader.failures == ["S3 returned SlowDown"]


@pytest.mark.parametrize("sabotage", ["truncated graph", "other size", "not finite", "no manifest", "future format"])
def test_a_sabotaged_bundle_is_not_published(s3: S3Client, tmp_path: Path, sabotage: str) -> None:
    directory = tmp_path / "bundle"
    write(directory, 0.5)
    manifest = orjson.loads((directory / BUNDLE_JSON).read_bytes())
    match sabotage:
        case "truncated graph":
            model = (directory / MODEL_ONNX).read_bytes()
            (directory / MODEL_ONNX).write_bytes(model[: len(model) // 2])
        case "other size":
            (directory / "report.html").write_text("longer than it was, and not what was hashed")
        case "not finite":
            with pytest.raises(BundleInvalid, match="not finite"):
                write(directory, float("nan"))
            return
        case "no manifest":
            (directory / BUNDLE_JSON).unlink()
        case "future format":
            (directory / BUNDLE_JSON).write_bytes(orjson.dumps(manifest | {"format": 99}))
    with pytest.raises(BundleInvalid):
        publish(s3, BUCKET, directory)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


def test_a_bundle_may_not_reach_outside_its_directory(s3: S3Client, reader: Reader, tmp_path: Path) -> None:
    version = write(tmp_path / "bundle", 0.5)
    manifest = orjson.loads((tmp_path / "bundle" / BUNDLE_JSON).read_bytes())
    manifest["files"]["../../outside"] = {"size": 1, "sha256": "0" * 64}
    s3.put_object(Bucket=BUCKET, Key=bundle_key(NAME, version, BUNDLE_JSON), Body=orjson.dumps(manifest))
    promote(s3, BUCKET, NAME, version)
    with pytest.raises(ModelUnavailable, match="outside the bundle"):
        reader.rate()


def test_a_version_holds_the_time_of_training_and_a_hash(tmp_path: Path) -> None:
    version = write(tmp_path, 0.5)
    bundle = load_bundle(tmp_path)
    stamp, digest = version.split("-")
    assert bundle.version == version
    assert bundle.sha256.startswith(digest)
    assert stamp == bundle.manifest["created_at"].replace("-", "").replace(":", "")
    with pytest.raises(BundleInvalid, match="expected sha256"):
        load_bundle(tmp_path, expected_sha256="0" * 64)
