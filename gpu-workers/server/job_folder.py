"""A job's folder: everything about a job that has to outlive the process.

job.json        the request, readable by its owner only
callbacks.jsonl one line per callback, in order; its number is the callback's sequence
delivered       how many of them the edge has
cancelled       present once someone asked to cancel
The training process adds its own files beside (`dico.job`).
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.contract import TrainerJobRequest
from server.durable_files import canonical_json, write_durably

TERMINAL = frozenset({"succeeded", "rejected", "failed", "cancelled"})
_JOB_ID = re.compile(r"ftjob-[0-9a-z]{10,40}")


class JobFolder:
    """One job on disk; only the thread that runs the job appends to it."""

    def __init__(self, path: Path) -> None:
        """Opens a folder in which `job.json` lies."""
        self.path = path
        self.request = TrainerJobRequest.model_validate_json((path / "job.json").read_bytes())
        self.callbacks = _read_callbacks(path / "callbacks.jsonl")

    @classmethod
    def create(cls, jobs_dir: Path, request: TrainerJobRequest) -> JobFolder:
        """Makes the folder; the job exists from the moment `job.json` is there."""
        path = jobs_dir / request.job_id
        (path / "images").mkdir(parents=True, exist_ok=True)
        body = request.model_dump(mode="json", exclude_none=True)
        body["parent_manifest_sha256"] = request.parent_manifest_sha256
        write_durably(path / "job.json", canonical_json(body))
        return cls(path)

    @classmethod
    def find_all(cls, jobs_dir: Path) -> list[JobFolder]:
        """Every job in the folder, the oldest first."""
        jobs_dir.mkdir(parents=True, exist_ok=True)
        found = [
            entry
            for entry in jobs_dir.iterdir()
            if _JOB_ID.fullmatch(entry.name) and (entry / "job.json").exists()
        ]
        return [cls(path) for path in sorted(found, key=lambda p: (p / "job.json").stat().st_mtime)]

    @property
    def id(self) -> str:
        """The job's id, given by the edge."""
        return self.request.job_id

    @property
    def created_at(self) -> datetime:
        """When the job arrived."""
        return datetime.fromtimestamp((self.path / "job.json").stat().st_mtime, UTC)

    @property
    def terminal(self) -> dict[str, Any] | None:
        """The last callback, once there can be no further one."""
        last = self.callbacks[-1] if self.callbacks else None
        return last if last and last["body"]["type"] in TERMINAL else None

    @property
    def state(self) -> str:
        """The contract's state."""
        if self.terminal:
            return self.terminal["body"]["type"]
        if self.cancel_requested:
            return "cancelling"
        states = [
            c["body"]["data"]["state"] for c in self.callbacks if c["body"]["type"] == "state"
        ]
        return states[-1] if states else "queued"

    @property
    def lines_read(self) -> int:
        """Lines of progress.jsonl that have become callbacks."""
        return max((callback["lines"] for callback in self.callbacks), default=0)

    @property
    def delivered(self) -> int:
        """How many callbacks the edge has; 0 where the file is lost, which only repeats some."""
        try:
            return int((self.path / "delivered").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    @delivered.setter
    def delivered(self, count: int) -> None:
        write_durably(self.path / "delivered", str(count).encode())

    @property
    def cancel_requested(self) -> bool:
        """Whether the edge asked to cancel."""
        return (self.path / "cancelled").exists()

    def request_cancel(self) -> None:
        """Notes the wish; the thread that runs the job acts on it."""
        write_durably(self.path / "cancelled", b"")

    def append(self, kind: str, data: dict[str, Any], lines: int | None = None) -> None:
        """Adds a callback. One after the terminal one is dropped: the job has ended."""
        if self.terminal:
            return
        body = {
            "job_id": self.id,
            "sequence": len(self.callbacks) + 1,
            "type": kind,
            "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "data": data,
        }
        callback = {"lines": self.lines_read if lines is None else lines, "body": body}
        with (self.path / "callbacks.jsonl").open("ab") as file:
            file.write(canonical_json(callback) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.callbacks.append(callback)


def _read_callbacks(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a crash may have cut the last one, which is then removed."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        write_durably(path, whole)
    return [json.loads(line) for line in whole.splitlines()]
