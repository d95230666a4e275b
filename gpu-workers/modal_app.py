"""The GPU worker on Modal: the same server as a web endpoint, training in GPU functions.

    modal secret create captions-gpu-worker TRAINER_TOKEN=... DICO_SIGNING_KEY=...
    modal volume put captions-bases models/scenes-base scenes-base
    modal deploy gpu-workers/modal_app.py

This is the only file that imports modal; the packages train, export and serve without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import modal

if TYPE_CHECKING:
    from fastapi import FastAPI

HERE = Path(__file__).parent
JOBS, BASES = Path("/jobs"), Path("/bases")
# The endpoint tails a running job's progress, so it has to outlive the quiet between requests;
# the edge asks about each running job every minute.
QUIET_SECONDS = 1200
JOB_SECONDS = 3600

app = modal.App("captions-gpu-worker")
image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install(requirements=[str(HERE / "requirements.txt")])
    .add_local_python_source("dico", "scenes", "server", ignore=["**/__pycache__/**"])
)
jobs = modal.Volume.from_name("captions-jobs", create_if_missing=True)
bases = modal.Volume.from_name("captions-bases", create_if_missing=True)
secret = modal.Secret.from_name(
    "captions-gpu-worker", required_keys=["TRAINER_TOKEN", "DICO_SIGNING_KEY"]
)


@app.function(
    image=image,
    gpu="L4",
    volumes={str(JOBS): jobs, str(BASES): bases},
    secrets=[secret],
    timeout=JOB_SECONDS,
)
def train(folder: str, base: str) -> int:
    """Runs one job in a GPU container; its files reach the endpoint through the volume."""
    jobs.reload()
    command = [sys.executable, "-m", "dico", "update", "--job-dir", folder, "--base", base]
    process = subprocess.Popen(command)
    while True:
        try:
            status = process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            jobs.commit()
            continue
        jobs.commit()
        return status


class ModalTraining:
    """A spawned call of `train`, as the job runner follows it."""

    def __init__(self, call: modal.FunctionCall[int]) -> None:
        """Takes the call as `spawn` returned it."""
        self._call = call

    def poll(self) -> int | None:
        """Fetches what the container wrote, and its exit status once it has ended."""
        jobs.reload()
        try:
            return self._call.get(timeout=0)
        except TimeoutError:
            return None
        except modal.exception.Error:
            return 1  # a container that was lost is a crash: the runner tries again

    def kill(self) -> None:
        """Cancels the call; on one that has ended this does nothing."""
        self._call.cancel(terminate_containers=True)


class ModalLauncher:
    """Trains in GPU containers instead of local processes."""

    def start(self, folder: Path, base: Path) -> ModalTraining:
        """Spawns the call; the job's files are committed first, so that the container sees them."""
        jobs.commit()
        return ModalTraining(train.spawn(str(folder), str(base)))


@app.function(
    image=image,
    volumes={str(JOBS): jobs, str(BASES): bases},
    secrets=[secret],
    scaledown_window=QUIET_SECONDS,
    max_containers=1,
)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def gpu_worker() -> FastAPI:
    """The web endpoint: scale to zero, at most one container, because it owns the job folders."""
    from server.app import create_app
    from server.settings import settings_from_env

    settings = settings_from_env(
        {**os.environ, "JOBS_DIR": str(JOBS), "BASES_DIR": str(BASES), "CONCURRENT_JOBS": "4"}
    )
    return create_app(settings, ModalLauncher())
