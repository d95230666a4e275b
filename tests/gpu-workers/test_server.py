"""The GPU worker as a process on a socket: jobs end, whatever is killed or out of reach."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from edge_double import CALLBACK_SECRET, JOB_TOKEN, EdgeDouble

ROOT = Path(__file__).parents[2]
TOKEN = "trainer-token-0123456789"
PROGRAM = """
import os, sys, uvicorn
from pathlib import Path
from server.app import create_app
from server.backoff import Backoff
from server.settings import Settings
settings = Settings(
    trainer_token=os.environ["TOKEN"], signing_key=os.environ["KEY"],
    jobs_dir=Path(sys.argv[1]) / "jobs", bases_dir=Path(sys.argv[1]) / "bases",
    training_command=(sys.executable, sys.argv[3]), backoff=Backoff(0.02, 0.1),
)
uvicorn.run(create_app(settings), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


class Worker:
    """A GPU worker in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        base = folder / "bases" / "tiny"
        base.mkdir(parents=True)
        (base / "manifest.json").write_text("{}")
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        self.start()

    def start(self) -> None:
        standin = Path(__file__).with_name("standin_training.py")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.folder), str(self.port), str(standin)],
            env={
                **os.environ,
                "TOKEN": TOKEN,
                "KEY": base64.b64encode(bytes(32)).decode(),
                "PYTHONPATH": str(ROOT / "gpu-workers"),
            },
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.http.get("/healthz").raise_for_status()
                return
            except httpx.TransportError:
                assert time.monotonic() < deadline
                assert self.process.poll() is None
                time.sleep(0.05)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(how)
        self.process.wait(timeout=20)

    def starts(self, job_id: str) -> list[int]:
        """Process ids of the trainings started for a job."""
        path = self.folder / "jobs" / job_id / "starts"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def edge() -> Iterator[EdgeDouble]:
    double = EdgeDouble()
    yield double
    double.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    running = Worker(tmp_path)
    yield running
    running.kill()


def request(edge: EdgeDouble, seed: int = 1, **changes: object) -> dict[str, Any]:
    return {
        "job_id": "ftjob-0123456789abcdef",
        "model": "scenes",
        "base_manifest_sha256": hashlib.sha256(b"{}").hexdigest(),
        "parent_manifest_sha256": None,
        "method": {"type": "dico", "dico": {"hyperparameters": {}}},
        "seed": seed,
        "dataset": {
            "url": f"{edge.url}/dataset",
            "sha256": hashlib.sha256(edge.data_set).hexdigest(),
        },
        "callback_url": f"{edge.url}/callbacks",
        "artifacts_url": f"{edge.url}/artifacts",
        "job_token": JOB_TOKEN,
        "callback_secret": CALLBACK_SECRET,
        **changes,
    }


def wait_until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_in_order(callbacks: list[dict[str, Any]]) -> None:
    """Each sequence came, in order; repeats say the same."""
    seen: dict[int, dict[str, Any]] = {}
    for callback in callbacks:
        number = callback["sequence"]
        assert number in (len(seen), len(seen) + 1) or number in seen
        assert seen.setdefault(number, callback) == callback
    assert sorted(seen) == list(range(1, len(seen) + 1))


def test_a_job_ends_with_its_files_stored_before_it_says_so(
    worker: Worker, edge: EdgeDouble
) -> None:
    answer = worker.http.post("/v1/jobs", json=request(edge))
    assert answer.status_code == 202
    edge.wait_for(edge.ended)
    assert [c["type"] for c in edge.callbacks] == ["state", "progress", "succeeded"]
    assert_in_order(edge.callbacks)
    last = edge.callbacks[-1]["data"]
    assert set(edge.artifacts) == {last["manifest_sha256"], last["files"][0]["sha256"]}
    assert edge.bad_signatures == 0
    shown = worker.http.get("/v1/jobs/ftjob-0123456789abcdef").json()
    assert (shown["state"], shown["last_sequence"]) == ("succeeded", 3)
    assert shown["terminal"] == edge.callbacks[-1]


def test_the_same_job_twice_is_one_job(worker: Worker, edge: EdgeDouble) -> None:
    for _ in range(3):
        assert worker.http.post("/v1/jobs", json=request(edge)).status_code == 202
    edge.wait_for(edge.ended)
    assert worker.http.post("/v1/jobs", json=request(edge)).json()["state"] == "succeeded"
    assert len(worker.starts("ftjob-0123456789abcdef")) == 1
    other = worker.http.post("/v1/jobs", json=request(edge, seed=2))
    assert (other.status_code, other.json()["code"]) == (409, "JOB_CONFLICT")


def test_a_failure_keeps_its_code(worker: Worker, edge: EdgeDouble) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=2))
    edge.wait_for(edge.ended)
    assert edge.callbacks[-1]["data"]["code"] == "TOO_FEW_THUMBS"
    assert edge.artifacts == {}


def test_feedback_that_cannot_be_learnt_from_is_told_with_its_report(
    worker: Worker, edge: EdgeDouble
) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=6))
    edge.wait_for(edge.ended)
    last = edge.callbacks[-1]
    assert (last["type"], last["data"]["code"]) == ("rejected", "CONTRADICTORY_THUMBS")
    assert last["data"]["end_users"] == ["ann", "bob"]
    assert list(edge.artifacts) == [last["data"]["report"]["sha256"]]
    shown = worker.http.get("/v1/jobs/ftjob-0123456789abcdef").json()
    assert (shown["state"], shown["terminal"]) == ("rejected", last)


def test_a_report_is_stored_before_the_end_and_is_no_file_of_the_version(
    worker: Worker, edge: EdgeDouble
) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=7))
    edge.wait_for(edge.ended)
    data = edge.callbacks[-1]["data"]
    stored = edge.artifacts[data["report"]["sha256"]]
    assert len(stored) == data["report"]["size"]
    assert data["report"]["sha256"] not in [file["sha256"] for file in data["files"]]


@pytest.mark.parametrize(("seed", "end", "starts"), [(3, "failed", 3), (4, "succeeded", 2)])
def test_a_crash_is_tried_again_and_takes_nobody_down(
    worker: Worker, edge: EdgeDouble, seed: int, end: str, starts: int
) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=seed))
    edge.wait_for(edge.ended)
    assert edge.callbacks[-1]["type"] == end
    assert len(worker.starts("ftjob-0123456789abcdef")) == starts
    assert worker.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_worker_goes_on_after_its_restart(
    worker: Worker, edge: EdgeDouble, how: signal.Signals
) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=5))
    edge.wait_for(lambda: bool(edge.callbacks))
    first = worker.starts("ftjob-0123456789abcdef")[0]
    worker.kill(how)
    wait_until(lambda: not Path(f"/proc/{first}").exists())  # its training died with it
    worker.start()
    edge.wait_for(edge.ended)
    assert edge.callbacks[-1]["type"] == "succeeded"
    assert_in_order(edge.callbacks)
    assert len(worker.starts("ftjob-0123456789abcdef")) == 2


def test_an_edge_out_of_reach_loses_nothing(worker: Worker, edge: EdgeDouble) -> None:
    edge.outage = 12
    worker.http.post("/v1/jobs", json=request(edge))
    edge.wait_for(edge.ended)
    assert [c["type"] for c in edge.callbacks] == ["state", "progress", "succeeded"]
    assert len(edge.artifacts) == 2


def test_a_cancelled_job_ends_as_such(worker: Worker, edge: EdgeDouble) -> None:
    worker.http.post("/v1/jobs", json=request(edge, seed=5))
    edge.wait_for(lambda: bool(edge.callbacks))
    assert worker.http.delete("/v1/jobs/ftjob-0123456789abcdef").status_code == 202
    edge.wait_for(edge.ended)
    assert edge.callbacks[-1]["type"] == "cancelled"
    pid = worker.starts("ftjob-0123456789abcdef")[0]
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert worker.http.delete("/v1/jobs/ftjob-0123456789abcdef").json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"base_manifest_sha256": "f" * 64}, "BASE_UNKNOWN"),
        ({"dataset": {"url": "{edge}/dataset", "sha256": "f" * 64}}, "DATASET_MISMATCH"),
        ({"dataset": {"url": "{edge}/nowhere/x", "sha256": "f" * 64}}, "DATASET_MISMATCH"),
    ],
)
def test_what_cannot_work_fails_with_a_code(
    worker: Worker, edge: EdgeDouble, changes: dict[str, Any], code: str
) -> None:
    if "dataset" in changes:
        url = changes["dataset"]["url"].replace("{edge}", edge.url).replace("nowhere", "images")
        changes = {"dataset": {**changes["dataset"], "url": url}}
    worker.http.post("/v1/jobs", json=request(edge, **changes))
    edge.wait_for(edge.ended)
    assert edge.callbacks[-1]["data"]["code"] == code


def test_strangers_and_nonsense_are_refused(worker: Worker, edge: EdgeDouble) -> None:
    url = str(worker.http.base_url)
    assert httpx.post(f"{url}/v1/jobs", json=request(edge)).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert httpx.get(f"{url}/v1/jobs/x", headers=wrong).status_code == 401
    missing = worker.http.get("/v1/jobs/ftjob-ffffffffffffffff")
    assert (missing.status_code, missing.json()["code"]) == (404, "JOB_NOT_FOUND")
    unknown = worker.http.post("/v1/jobs", json=request(edge, surprise=1))
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/surprise"
    path = worker.http.post("/v1/jobs", json=request(edge, job_id="ftjob-../../etc/passwd"))
    assert path.status_code == 422
    large = worker.http.post("/v1/jobs", content=b" " * 200_000)
    assert (large.status_code, large.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert worker.http.get("/nowhere").headers["content-type"] == "application/problem+json"
