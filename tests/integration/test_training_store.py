"""publish, promote, rollback, list, as one types them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from training.bundle_writer import start_bundle, write_bundle
from training.cli import main
from training.export import constant_model

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STORE = ("--store", f"s3://{os.environ['MODELS_BUCKET']}")


def bundle(directory: Path, rate: float) -> Path:
    start_bundle(directory)
    constant_model(directory / "model.onnx", {"numeric": (1, "float32")}, {"probability": rate})
    write_bundle(directory, name="ads-table", kind="table", model="base-rate", metrics={}, started=0.0, files=())
    return directory


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out.strip()


def test_a_model_goes_out_and_comes_back(s3: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(capsys, "publish", bundle(tmp_path / "a", 0.1), *STORE)
    second = run(capsys, "publish", bundle(tmp_path / "b", 0.2), *STORE)
    assert run(capsys, "list", *STORE).split() == ["ads-table", min(first, second), "ads-table", max(first, second)]
    assert run(capsys, "promote", "ads-table", first, *STORE) == f"ads-table: {first}"
    assert run(capsys, "promote", "ads-table", second, *STORE) == f"ads-table: {second}"
    listed = {line.split()[1]: line.split()[2:] for line in run(capsys, "list", "ads-table", *STORE).splitlines()}
    assert listed == {first: ["previous"], second: ["current"]}
    assert run(capsys, "rollback", "ads-table", *STORE) == f"ads-table: {first}"
    said = run(capsys, "promote", "ads-table", second, "--share", "0.25", *STORE)
    assert said == f"ads-table: {first}; {second} serves 25% of the users"


def test_the_store_can_come_from_the_environment(
    s3: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_STORE", STORE[1])
    version = run(capsys, "publish", bundle(tmp_path / "a", 0.1))
    assert version in run(capsys, "list")


def test_what_is_not_there_is_said_in_a_line(s3: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "ads-table", "20260101T000000Z-00000000", *STORE]) == 2
    assert "no version '20260101T000000Z-00000000' of 'ads-table' was published" in capsys.readouterr().err
    assert main(["rollback", "ads-table", *STORE]) == 2
    assert "no previous version" in capsys.readouterr().err
    (bundle(tmp_path / "a", 0.1) / "model.onnx").write_bytes(b"changed")
    assert main(["publish", str(tmp_path / "a"), *STORE]) == 2
    assert "model.onnx: expected" in capsys.readouterr().err


def test_what_simple_methods_beat_goes_out_by_force_alone(
    s3: S3Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_bundle(tmp_path)
    constant_model(tmp_path / "model.onnx", {"numeric": (1, "float32")}, {"probability": 0.5})
    judged = {"validation": {"ndcg_at_10": 0.1, "users": 900}}
    write_bundle(
        tmp_path, name="recommendations", kind="interactions", model="sequence-mix", metrics=judged, started=0.0,
        files=(), content={"baselines_validation": {"item_knn": {"ndcg_at_10": 0.2}}},
    )  # fmt: skip
    assert main(["publish", str(tmp_path), *STORE]) == 2
    assert "item_knn has 0.2000" in capsys.readouterr().err
    assert run(capsys, "list", *STORE) == ""
    version = run(capsys, "publish", tmp_path, "--force", *STORE)
    assert version in run(capsys, "list", *STORE)


def test_a_stack_names_its_bucket(aws: None, capsys: pytest.CaptureFixture[str]) -> None:
    import boto3

    template = '{"Resources": {"B": {"Type": "AWS::S3::Bucket"}}, "Outputs": {"ModelsBucket": {"Value": {"Ref": "B"}}}}'
    boto3.client("cloudformation").create_stack(StackName="shop", TemplateBody=template)
    assert run(capsys, "list", "--stack", "shop") == ""
    assert main(["list", "--stack", "another"]) == 2
    assert "the stack 'another' cannot be read" in capsys.readouterr().err
