"""Starts the training process; on Modal a GPU function takes this place (`modal_app.py`)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from server.settings import SIGNING_KEY_ENV, Settings

_PR_SET_PDEATHSIG = 1


class Training(Protocol):
    """A training under way."""

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        ...

    def kill(self) -> None:
        """Ends it at once, with all that it started."""
        ...


class Launcher(Protocol):
    """Starts the training of a job."""

    def start(self, folder: Path, base: Path) -> Training:
        """Runs or goes on with the job in `folder` from the base version in `base`."""
        ...


class ProcessLauncher:
    """Trains in a process group of its own, so that no crash takes the server down."""

    def __init__(self, settings: Settings) -> None:
        """The signing key goes to the process by its environment, never by its arguments."""
        self._settings = settings

    def start(self, folder: Path, base: Path) -> Training:
        """Starts the process; what it prints goes to training.log in the job's folder."""
        command = [*self._settings.training_command, "--job-dir", str(folder), "--base", str(base)]
        with (folder / "training.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, SIGNING_KEY_ENV: self._settings.signing_key},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        return _Process(process)


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _die_with_parent() -> None:
    """A killed server must not leave a training behind that a restarted one would run twice."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
