"""python -m local serve, drop and env, as an engineer types them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import REPOSITORY, stack_file
from local.__main__ import main
from local.aws import client
from tests.integration.local_shop import TEMPLATE, call, told

# Installed or not, the child finds the two packages.
_ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "layers/personalization/python")])
}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        capture_output=True, text=True, timeout=120, check=False, env=_ENVIRONMENT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def serve(home: Path) -> Iterator[subprocess.Popen[str]]:
    (home / stack_file.FILE).write_text(json.dumps({"pid": 2**22 + 1, "gateway": "gone", "endpoint": "http://127.0.0.1:9"}))
    command = ["serve", "--port", "0", "--home", str(home), "--template", str(TEMPLATE), "--bundles", str(home / "none" / "*")]
    process = subprocess.Popen(
        [sys.executable, "-m", "local", *command, "--bridge", "127.0.0.2"], stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT
    )
    try:
        _until(lambda: _stack(home).get("pid") == process.pid, process)
        stack = _stack(home)
        s3 = client("s3", stack["endpoint"])
        s3.put_object(Bucket="local-models", Key="models/profiles/current.json", Body=b'{"version": "m1"}')
        yield process
    finally:
        process.kill()
        process.wait()


def _until(condition: Any, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "serve has ended"
        time.sleep(0.05)


def _stack(home: Path) -> dict[str, Any]:
    path = home / stack_file.FILE
    content: dict[str, Any] = (
        json.loads(path.read_text()) if path.exists() else {}
    )  # a dead one's is removed, then ours written
    return content


@pytest.mark.usefixtures("serve")
class TestWhileServing:
    def test_the_api_answers(self, home: Path) -> None:
        assert told(call(_stack(home)["gateway"], "GET", "/v1/things/7"))["event"]["pathParameters"] == {"thing_id": "7"}

    def test_a_second_one_does_not_take_its_place(self, home: Path) -> None:
        done = _run("serve", "--port", "0", "--home", str(home), "--template", str(TEMPLATE))
        assert done.returncode == 2
        assert "already serves" in done.stderr
        assert stack_file.find(home)["pid"] == _stack(home)["pid"]

    def test_drop_fetches_the_results(self, home: Path, tmp_path: Path) -> None:
        file, out = tmp_path / "a.csv", tmp_path / "out"
        file.write_text("abc\n")
        out.mkdir()
        (out / "part-00007.jsonl").write_text("of an earlier job")
        (out / "notes.txt").write_text("mine")
        done = _run(
            "drop", "profiles", str(file), "--out", str(out), "--map", "user_id=Customer,event_type==buy", "--home", str(home)
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 rows in = 1 used + 0 rejected" in done.stdout
        assert {path.name for path in out.iterdir()} == {"part-00000.jsonl", "manifest.json", "_SUCCESS", "notes.txt"}
        manifest = json.loads((out / "manifest.json").read_text())
        assert json.loads(manifest["mapping"]) == {"user_id": "Customer", "event_type": "=buy"}

    def test_drop_of_a_file_that_fails_says_so(self, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "a.csv"
        file.write_text("refuse\n")
        assert main(["drop", "profiles", str(file), "--out", str(tmp_path / "out"), "--home", str(home)]) == 1
        assert "the job failed" in capsys.readouterr().err
        assert (tmp_path / "out" / "_FAILED").is_file()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("profiles", "no-such-file.csv"), "found none at no-such-file.csv"),
            (("nonsense", str(TEMPLATE)), "received 'nonsense'"),
            (("ads", str(TEMPLATE)), "no model 'ads' is promoted"),
            (("profiles", str(TEMPLATE), "--map", "user_id"), "expected a mapping"),
            (("profiles", str(TEMPLATE), "--map", "none.json"), "the mapping cannot be read"),
        ],
    )
    def test_drop_refuses_what_it_cannot_do(
        self, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
    ) -> None:
        assert main(["drop", *arguments, "--out", str(tmp_path / "out"), "--home", str(home)]) == 2
        assert message in capsys.readouterr().err

    def test_env_gives_physical_names_and_an_address_that_a_container_reaches(
        self, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "env.json"
        assert main(["env", "EchoFunction", "--out", str(out), "--home", str(home)]) == 0
        values = json.loads(out.read_text())["EchoFunction"]
        assert values["DATA_BUCKET"] == "local-data-123456789012"
        assert values["CACHE"] == "/tmp/cache"
        assert values["AWS_ENDPOINT_URL"] == _stack(home)["endpoint"].replace("127.0.0.1", "127.0.0.2")
        names = [bucket["Name"] for bucket in client("s3", values["AWS_ENDPOINT_URL"]).list_buckets()["Buckets"]]
        assert values["DATA_BUCKET"] in names
        assert main(["env", "Nothing", "--home", str(home)]) == 2
        assert "EchoFunction" in capsys.readouterr().err


def test_sigterm_ends_it_and_every_child(serve: subprocess.Popen[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = _stack(home)
    child = told(call(stack["gateway"], "GET", "/v1/things/1"))["pid"]
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(timeout=60) == 0
    assert serve.stdout is not None
    printed = serve.stdout.read()
    assert "No bundle found" in printed
    assert f"export AWS_ENDPOINT_URL={stack['endpoint']}" in printed
    assert "export MODEL_STORE=s3://local-models" in printed
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not (home / stack_file.FILE).exists()
    assert not (home / "tmp").exists()
    assert main(["drop", "profiles", str(TEMPLATE), "--out", str(home / "out"), "--home", str(home)]) == 2
    assert "expected a running stack, found none" in capsys.readouterr().err


def test_a_dead_ones_stack_json_is_not_taken_for_a_running_stack(tmp_path: Path) -> None:
    stack_file.write(
        tmp_path, {"pid": os.getpid(), "gateway": "", "endpoint": "http://127.0.0.1:9"}
    )  # lives, but serves nothing
    with pytest.raises(stack_file.NotRunning, match="does not run any more"):
        stack_file.find(tmp_path)
    stack_file.claim(tmp_path)
    assert not (tmp_path / stack_file.FILE).exists()


def test_a_port_in_use_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run("serve", "--port", str(port), "--home", str(home), "--template", str(TEMPLATE))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
