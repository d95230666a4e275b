"""A tenant's own judge over HTTPS: captions out, scores in, and nothing of it is trusted."""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from dataclasses import dataclass

import httpx

MAX_REPLY_BYTES = 64 * 1024
MAX_SCORE = 1000.0


class JudgeError(Exception):
    """The judge did not give scores.

    Attributes:
        code: JUDGE_TIMEOUT, JUDGE_UNREACHABLE, JUDGE_REFUSED, JUDGE_REPLY_TOO_LARGE or
            JUDGE_REPLY_INVALID.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class HttpJudge:
    """Where to ask and how long to wait.

    Attributes:
        url: https, its host neither an address nor a name of a private network.
        timeout_seconds: For the whole exchange.
    """

    url: str
    timeout_seconds: float = 5.0

    def score(
        self, captions: list[str], image_sha256: str, transport: httpx.BaseTransport
    ) -> list[float]:
        """Posts `{"image_sha256", "captions"}` and reads `{"scores"}`, one for each caption.

        Redirects are not followed and cookies not kept.

        Args:
            captions: Of one image.
            image_sha256: The image's digest, by which the tenant knows it.
            transport: `PublicTransport` outside of tests.

        Raises:
            JudgeError: No scores in time, or something else than as many finite numbers.
        """
        deadline = time.monotonic() + self.timeout_seconds
        body = {"image_sha256": image_sha256, "captions": captions}
        try:
            with (
                # No proxy of the environment's: it would go round the transport.
                httpx.Client(
                    transport=transport, timeout=self.timeout_seconds, trust_env=False
                ) as client,
                client.stream("POST", self.url, json=body) as reply,
            ):
                if reply.status_code != 200:
                    raise JudgeError("JUDGE_REFUSED", f"the judge answered {reply.status_code}")
                content = _read(reply, deadline)
        except httpx.TimeoutException as error:
            raise JudgeError("JUDGE_TIMEOUT", "the judge did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise JudgeError("JUDGE_UNREACHABLE", "the judge could not be asked") from error
        return _scores(content, len(captions))


class PublicTransport(httpx.HTTPTransport):
    """Connects to public addresses only, and to the very address that was checked.

    A name may resolve to the cloud's metadata service or to a neighbour, and to something else at
    the second look; so the address is resolved once, checked, and put in the name's place.
    """

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request to the first address of its host.

        Raises:
            httpx.ConnectError: The host has no address, or one that is not public.
        """
        host, port = request.url.host, request.url.port or 443
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError(f"{host} has no address", request=request) from error
        addresses = [str(each[4][0]) for each in found]
        if not addresses or not all(is_public(address) for address in addresses):
            raise httpx.ConnectError(f"{host} is no public host", request=request)
        request.extensions["sni_hostname"] = host  # the certificate has to be the name's
        request.url = request.url.copy_with(host=addresses[0])
        return super().handle_request(request)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; False for what is none."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    return parsed.is_global and not parsed.is_multicast


def _read(reply: httpx.Response, deadline: float) -> bytes:
    content = bytearray()
    for chunk in reply.iter_bytes():
        content += chunk
        if len(content) > MAX_REPLY_BYTES:
            raise JudgeError("JUDGE_REPLY_TOO_LARGE", f"more than {MAX_REPLY_BYTES} bytes")
        # The client's timeout is between two reads; a judge that drips would hold us for ever.
        if time.monotonic() > deadline:
            raise JudgeError("JUDGE_TIMEOUT", "the judge did not finish in time")
    return bytes(content)


def _scores(content: bytes, count: int) -> list[float]:
    try:
        reply = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise JudgeError("JUDGE_REPLY_INVALID", "the reply is not JSON") from error
    scores = reply.get("scores") if isinstance(reply, dict) else None
    if not isinstance(scores, list) or len(scores) != count:
        raise JudgeError("JUDGE_REPLY_INVALID", f"expected {count} scores")
    if not all(_is_score(score) for score in scores):
        raise JudgeError(
            "JUDGE_REPLY_INVALID", f"expected numbers between -{MAX_SCORE:g} and {MAX_SCORE:g}"
        )
    return [float(score) for score in scores]


def _is_score(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_SCORE  # False for NaN, and whole numbers may exceed every float
