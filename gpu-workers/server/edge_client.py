"""The GPU worker's side of the edge: data sets and images in, artefacts and callbacks out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from server.contract import DataSet, TrainerJobRequest
from server.durable_files import canonical_json, write_durably
from server.settings import Settings

MAX_DATASET_BYTES = 64_000_000
MAX_IMAGE_BYTES = 10_000_000
log = logging.getLogger("server.edge")


class EdgeError(Exception):
    """The edge refused, or sent what it must not; trying again would not help."""

    def __init__(self, code: str, message: str) -> None:
        """Takes a code for the job's owner and a text that is safe to show."""
        super().__init__(message)
        self.code = code


class Stopped(Exception):
    """The server is shutting down or the job was cancelled while it waited for the edge."""


class EdgeClient:
    """Everything one job says to the edge; each call tries until it works or patience ends."""

    def __init__(
        self, request: TrainerJobRequest, settings: Settings, stop: Callable[[], bool]
    ) -> None:
        """`stop` is asked between attempts."""
        self._request, self._settings, self._stop = request, settings, stop
        self._http = httpx.Client(
            timeout=60.0,
            follow_redirects=False,
            headers={"Authorization": f"Bearer {request.job_token}"},
        )
        self._wake = threading.Event()

    def fetch_data_set(self, path: Path) -> DataSet:
        """Downloads the data set once and checks its digest.

        Raises:
            EdgeError: DATASET_REFUSED, DATASET_MISMATCH or DATASET_INVALID.
        """
        if not path.exists():
            url = str(self._request.dataset.url)
            data = self._get(url, MAX_DATASET_BYTES, "DATASET_REFUSED")
            if hashlib.sha256(data).hexdigest() != self._request.dataset.sha256:
                raise EdgeError("DATASET_MISMATCH", "the data set does not have its digest")
            write_durably(path, data)
        try:
            return DataSet.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise EdgeError("DATASET_INVALID", "the data set breaks the contract") from error

    def fetch_images(self, data_set: DataSet, folder: Path) -> int:
        """Downloads the images that are missing; returns how many could not be had."""
        missing = 0
        for example in data_set.examples:
            path = folder / example.image.sha256
            if path.exists():
                continue
            try:
                data = self._get(str(example.image.url), MAX_IMAGE_BYTES, "IMAGE_REFUSED")
            except EdgeError:
                missing += 1
                continue
            if hashlib.sha256(data).hexdigest() != example.image.sha256:
                missing += 1
                continue
            write_durably(path, data)
        return missing

    def upload(self, path: Path, sha256: str) -> None:
        """Stores one artefact under its digest unless the edge has it.

        Raises:
            EdgeError: ARTIFACT_REFUSED.
        """
        url = f"{self._request.artifacts_url}/{sha256}"
        if self._attempt(lambda: self._http.head(url)).status_code == 200:
            return
        answer = self._attempt(lambda: self._http.put(url, content=path.read_bytes()))
        if answer.status_code >= 300:
            raise EdgeError("ARTIFACT_REFUSED", f"the edge refused a file: {answer.status_code}")

    def deliver(self, body: dict[str, object]) -> bool:
        """Sends one callback; False when the edge no longer wants to hear of the job."""
        data = canonical_json(body)
        message_id = f"{body['job_id']}-{body['sequence']}"

        def send() -> httpx.Response:
            timestamp = str(int(time.time()))
            signed = f"{message_id}.{timestamp}.".encode() + data
            secret = self._request.callback_secret.encode()
            signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
            headers = {
                "Content-Type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": timestamp,
                "webhook-signature": f"v1,{signature}",
            }
            return self._http.post(str(self._request.callback_url), content=data, headers=headers)

        status = self._attempt(send, patience=float("inf")).status_code
        if status >= 300:
            log.warning("callback %s refused with %s", message_id, status)
        return status < 300

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def _get(self, url: str, limit: int, code: str) -> bytes:
        answer = self._attempt(lambda: self._http.get(url))
        if answer.status_code != 200 or len(answer.content) > limit:
            raise EdgeError(code, f"the edge answered {answer.status_code}")
        return answer.content

    def _attempt(
        self, call: Callable[[], httpx.Response], patience: float | None = None
    ) -> httpx.Response:
        """Repeats a request while the edge is out of reach, busy or failing."""
        started = time.monotonic()
        patience = self._settings.edge_patience_seconds if patience is None else patience
        attempt = 0
        while True:
            if self._stop():
                raise Stopped
            attempt += 1
            try:
                answer = call()
                if answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                    return answer
            except httpx.TransportError as error:
                log.info("edge out of reach: %s", type(error).__name__)
            if time.monotonic() - started > patience:
                raise EdgeError("EDGE_UNREACHABLE", "the edge could not be reached")
            self._wake.wait(self._settings.backoff.seconds(attempt))
