"""Runs jobs one after the other: fetch, train in a process of its own, upload, tell the edge.

Every step leaves its trace in the job's folder, so a killed server goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
from pathlib import Path
from typing import Any

from server.contract import TrainerJob, TrainerJobRequest
from server.edge_client import EdgeClient, EdgeError, Stopped
from server.job_folder import JobFolder
from server.launcher import Launcher, Training
from server.settings import Settings

MOST_ATTEMPTS = 3
_POLL_SECONDS = 0.2
log = logging.getLogger("server.runner")


class JobConflictError(Exception):
    """The id is taken by a job with another request."""


class Runner:
    """Owns all jobs of this server."""

    def __init__(self, settings: Settings, launcher: Launcher) -> None:
        """Nothing starts before `start`."""
        self._settings, self._launcher = settings, launcher
        self._jobs: dict[str, JobFolder] = {}
        self._waiting: queue.Queue[JobFolder] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Takes up every unfinished job, then waits for new ones."""
        for job in JobFolder.find_all(self._settings.jobs_dir):
            self._jobs[job.id] = job
            if not job.terminal:
                self._waiting.put(job)
            if job.delivered < len(job.callbacks) or not job.terminal:
                self._spawn(self._deliver, job)
        for _ in range(self._settings.concurrent_jobs):
            self._spawn(self._work)

    def stop(self) -> None:
        """Ends the training processes; their jobs go on at the next start."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def submit(self, request: TrainerJobRequest) -> TrainerJob:
        """Takes a job; the same one again is the same job.

        Raises:
            JobConflictError: The id belongs to another request.
        """
        with self._lock:
            known = self._jobs.get(request.job_id)
            if known is None:
                known = JobFolder.create(self._settings.jobs_dir, request)
                self._jobs[known.id] = known
                self._waiting.put(known)
                self._spawn(self._deliver, known)
            elif known.request.model_dump() != request.model_dump():
                raise JobConflictError
        return describe(known)

    def find(self, job_id: str) -> JobFolder | None:
        """A job of this server."""
        return self._jobs.get(job_id)

    @property
    def waiting(self) -> int:
        """Jobs that no thread has taken up yet."""
        return self._waiting.qsize()

    def _spawn(self, target: Any, *arguments: JobFolder) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._waiting.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            try:
                self._run(job)
            except Stopped:
                if job.cancel_requested:
                    job.append("cancelled", {})
            except EdgeError as error:
                _fail(job, error.code, str(error), retryable=error.code == "EDGE_UNREACHABLE")
            except Exception:
                log.exception("job %s failed unexpectedly", job.id)
                _fail(job, "INTERNAL", "the GPU worker failed", retryable=True)

    def _run(self, job: JobFolder) -> None:
        edge = EdgeClient(
            job.request, self._settings, lambda: self._stopping.is_set() or job.cancel_requested
        )
        try:
            base = self._find_base(job.request.base_manifest_sha256)
            if base is None:
                _fail(job, "BASE_UNKNOWN", "this GPU worker does not have the base", False)
                return
            data_set = edge.fetch_data_set(job.path / "dataset.json")
            missing = edge.fetch_images(data_set, job.path / "images")
            if missing and job.lines_read == 0:
                job.append(
                    "log", {"level": "warning", "message": f"{missing} images could not be fetched"}
                )
            result = self._train(job, base)
            if result is None:
                _fail(job, "TRAINING_CRASHED", "the training process crashed repeatedly", True)
                return
            if result["status"] == "failed":
                _fail(job, result["code"], result["message"], result["retryable"])
                return
            if result["status"] == "succeeded":
                version = job.path / "version"
                for file in result["files"]:
                    edge.upload(version / file["path"], file["sha256"])
                edge.upload(version / "manifest.json", result["manifest_sha256"])
            outcome = {key: result[key] for key in result if key != "status"}
            job.append(result["status"], {**outcome, "report": _upload_report(job, edge)})
        finally:
            edge.close()

    def _train(self, job: JobFolder, base: Path) -> dict[str, Any] | None:
        """The training's result; None when it crashed too often."""
        result = job.path / "result.json"
        for attempt in range(1, MOST_ATTEMPTS + 1):
            if not result.exists():
                training = self._launcher.start(job.path, base)
                try:
                    self._follow(job, training)
                finally:
                    training.kill()
            if result.exists():
                _pass_on_progress(job)
                return json.loads(result.read_text())
            message = f"the training process crashed (attempt {attempt} of {MOST_ATTEMPTS})"
            job.append("log", {"level": "error", "message": message})
        return None

    def _follow(self, job: JobFolder, training: Training) -> None:
        while training.poll() is None:
            _pass_on_progress(job)
            if self._stopping.wait(_POLL_SECONDS) or job.cancel_requested:
                raise Stopped
        _pass_on_progress(job)

    def _find_base(self, manifest_sha256: str) -> Path | None:
        for manifest in self._settings.bases_dir.glob("*/manifest.json"):
            if hashlib.sha256(manifest.read_bytes()).hexdigest() == manifest_sha256:
                return manifest.parent
        return None

    def _deliver(self, job: JobFolder) -> None:
        """Sends the job's callbacks in order until the terminal one has arrived."""
        edge = EdgeClient(job.request, self._settings, self._stopping.is_set)
        delivered = job.delivered
        try:
            while not self._stopping.is_set():
                if delivered == len(job.callbacks):
                    if job.terminal:
                        return
                    self._stopping.wait(_POLL_SECONDS)
                    continue
                if not edge.deliver(job.callbacks[delivered]["body"]) and not job.terminal:
                    job.request_cancel()  # nobody waits for the outcome
                delivered += 1
                job.delivered = delivered
        except Stopped:
            return
        finally:
            edge.close()


def describe(job: JobFolder) -> TrainerJob:
    """The contract's view of a job."""
    terminal = job.terminal
    return TrainerJob.model_validate(
        {
            "object": "trainer_job",
            "id": job.id,
            "state": job.state,
            "last_sequence": len(job.callbacks),
            "created_at": job.created_at,
            "terminal": terminal["body"] if terminal else None,
        }
    )


def _upload_report(job: JobFolder, edge: EdgeClient) -> dict[str, Any] | None:
    """Stores report.json, which is no file of the version: it shows a tenant's pictures."""
    path = job.path / "report.json"
    if not path.exists():
        return None
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    edge.upload(path, digest)
    return {"sha256": digest, "size": len(data)}


def _fail(job: JobFolder, code: str, message: str, retryable: bool) -> None:
    job.append("failed", {"code": code, "message": message[:500], "retryable": retryable})


def _pass_on_progress(job: JobFolder) -> None:
    """Turns new whole lines of progress.jsonl into callbacks."""
    path = job.path / "progress.jsonl"
    if not path.exists():
        return
    data = path.read_bytes()
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    for number in range(job.lines_read, len(lines)):
        try:
            line = json.loads(lines[number])
            kind = line.pop("type")
        except (ValueError, KeyError):  # a crash may have cut it
            continue
        if kind in ("state", "progress", "log"):
            job.append(kind, line, number + 1)
