"""The edge as one job sees it, on a real socket: hands out data, takes files and callbacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JOB_TOKEN, CALLBACK_SECRET = "job-token-0123456789", "callback-secret-0123456789"
IMAGE = b"not really an image, but bytes with a digest"


class EdgeDouble:
    """Keeps what it was sent; `outage` makes it answer 503 that many times."""

    def __init__(self, port: int = 0) -> None:
        self.callbacks: list[dict[str, Any]] = []
        self.artifacts: dict[str, bytes] = {}
        self.bad_signatures = 0
        self.outage = 0
        self.callback_status = 200
        self._changed = threading.Condition()
        edge = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Keeps the test output quiet."""

            def reply(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with edge._changed:
                    status, answer = edge._answer(self.command, self.path, dict(self.headers), body)
                    edge._changed.notify_all()
                self.reply(status, answer)

            do_GET = do_PUT = do_POST = do_HEAD = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def data_set(self) -> bytes:
        """One image with one thumb, as the contract wants it."""
        digest = hashlib.sha256(IMAGE).hexdigest()
        rating = {"caption": "a dog", "rating": "up", "correction": None, "version": "ver_1",
                  "feedback_id": "fbk_1", "end_user": "ann"}  # fmt: skip
        image = {"sha256": digest, "media_type": "image/png", "url": f"{self.url}/images/{digest}"}
        counts = {"images": 1, "train": 1, "held_out": 0, "ratings": 1, "up": 1, "down": 0,
                  "corrections": 0, "by_version": {"ver_1": 1}}  # fmt: skip
        return json.dumps(
            {
                "object": "data_set", "id": "dst_1", "model": "scenes",
                "base_manifest_sha256": "0" * 64, "counts": counts, "dropped": [],
                "examples": [{"image": image, "split": "train", "ratings": [rating]}],
            }
        ).encode()  # fmt: skip

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Returns once it holds; fails after a while."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), [c["type"] for c in self.callbacks]

    def ended(self) -> bool:
        """Whether the terminal callback came."""
        ends = ("succeeded", "rejected", "failed", "cancelled")
        return any(c["type"] in ends for c in self.callbacks)

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        if self.outage > 0:
            self.outage -= 1
            return 503, b""
        if headers.get("Authorization") != f"Bearer {JOB_TOKEN}":
            return 401, b""
        if path == "/dataset":
            return 200, self.data_set
        if path.startswith("/images/"):
            return 200, IMAGE
        if path.startswith("/artifacts/"):
            digest = path.rsplit("/", 1)[1]
            if method == "HEAD":
                return (200 if digest in self.artifacts else 404), b""
            self.artifacts[digest] = body
            return 201, b""
        lower = {name.lower(): value for name, value in headers.items()}
        signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(CALLBACK_SECRET.encode(), signed, "sha256")
        if lower["webhook-signature"] != "v1," + base64.b64encode(digest).decode():
            self.bad_signatures += 1
            return 401, b""
        self.callbacks.append(json.loads(body))
        return self.callback_status, b""
