"""A tenant's reward is data: read strictly, computed exactly, and its judge is not trusted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
import torch
from dico.evaluators import http_judge
from dico.evaluators.http_judge import JudgeError, PublicTransport, is_public
from dico.evaluators.rewards import Captions, RewardError, evaluator_scores, parse_reward

JUDGE = {"type": "http_judge", "url": "https://judge.example/scores", "timeout_seconds": 0.5}
TEXTS = ["A cheap dog on a beach", "a dog", "cheap, CHEAP and half price"]


def captions(transport: httpx.BaseTransport | None = None) -> Captions:
    scores = torch.tensor([0.5, 0.7, 0.9])
    return Captions(
        TEXTS, "ab" * 32, {"pac_s": scores, "clip_s": 2 * scores}, transport or PublicTransport()
    )


def score(value: object, transport: httpx.BaseTransport | None = None) -> list[float]:
    return parse_reward(value).of(captions(transport)).tolist()


def test_a_weighted_sum_by_hand() -> None:
    """PAC-S, less a half for each word above four, less 5 for each banned word or phrase."""
    reward = {
        "sum": [
            {"type": "pac_s"},
            {"weight": -0.5, "reward": {"type": "length", "most": 4}},
            {"weight": -5, "reward": {"type": "banned_words", "words": ["cheap", "Half Price"]}},
        ]
    }
    assert score(reward) == pytest.approx([0.5 - 1 - 5, 0.7, 0.9 - 0.5 - 15])
    assert evaluator_scores(parse_reward(reward)) == {"pac_s"}


def test_too_few_words_count_as_too_many_do() -> None:
    assert score({"type": "length", "least": 4, "most": 5}) == [1.0, 2.0, 0.0]


def test_a_word_within_another_is_not_banned() -> None:
    assert score({"type": "banned_words", "words": ["heap", "do"]}) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, "$"),
        ([], "$"),
        ({}, "$.type"),
        ({"type": ["pac_s"]}, "$.type"),
        ({"type": "python", "code": "1"}, "$.type"),
        ({"type": "pac_s", "more": 1}, "$"),
        ({"sum": []}, "$.sum"),
        ({"sum": [{"type": "pac_s"}] * 17}, "$.sum"),
        ({"sum": [{"sum": [{"sum": [{"sum": [{"type": "pac_s"}]}]}]}]}, "$.sum[0].sum[0].sum[0]"),
        ({"sum": [{"weight": float("nan"), "reward": {"type": "pac_s"}}]}, "$.sum[0].weight"),
        ({"sum": [{"weight": True, "reward": {"type": "pac_s"}}]}, "$.sum[0].weight"),
        ({"sum": [{"weight": 10**400, "reward": {"type": "pac_s"}}]}, "$.sum[0].weight"),
        ({"sum": [{"weight": 101, "reward": {"type": "pac_s"}}]}, "$.sum[0].weight"),
        ({"type": "length"}, "$"),
        ({"type": "length", "most": 0}, "$.most"),
        ({"type": "length", "most": 2.5}, "$.most"),
        ({"type": "length", "most": 3, "least": 4}, "$.least"),
        ({"type": "banned_words", "words": []}, "$.words"),
        ({"type": "banned_words", "words": ["ok", "!"]}, "$.words[1]"),
        ({"type": "banned_words", "words": ["x" * 65]}, "$.words[0]"),
        (JUDGE | {"timeout_seconds": 31}, "$.timeout_seconds"),
        (JUDGE | {"headers": {}}, "$"),
    ],
)
def test_what_is_no_reward_is_refused_where_it_is_wrong(value: object, path: str) -> None:
    with pytest.raises(RewardError) as raised:
        parse_reward(value)
    assert raised.value.path == path


@pytest.mark.parametrize(
    "url",
    [
        "http://judge.example/",
        "https://",
        "https://user:secret@judge.example/",
        "https://judge.example:8443/",
        "https://judge.example/#part",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://localhost/",
        "https://metadata.internal/",
        "https://judge.example\\@127.0.0.1/",
        "https://[oops/",
        "https://" + "a" * 2048 + ".example/",
        7,
    ],
)
def test_only_public_https_hosts_may_judge(url: object) -> None:
    with pytest.raises(RewardError, match="url"):
        parse_reward(JUDGE | {"url": url})


def test_a_name_that_leads_into_the_private_network_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One public and one private address: the second look could give the private one."""
    found = [(2, 1, 6, "", (address, 443)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(http_judge.socket, "getaddrinfo", lambda *_args, **_names: found)
    with pytest.raises(JudgeError) as raised:
        score(JUDGE)
    assert raised.value.code == "JUDGE_UNREACHABLE"


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The certificate and the Host header stay the name's."""
    asked: list[httpx.Request] = []

    def connect(_transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"scores": [1, 2, 3]})

    found = [(2, 1, 6, "", ("93.184.216.34", 443))]
    monkeypatch.setattr(http_judge.socket, "getaddrinfo", lambda *_args, **_names: found)
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", connect)
    assert score(JUDGE) == [1.0, 2.0, 3.0]
    assert str(asked[0].url) == "https://93.184.216.34/scores"
    assert asked[0].headers["host"] == asked[0].extensions["sni_hostname"] == "judge.example"


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "100.64.0.1", "fe80::1%eth0", "x"])
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


class Loopback(httpx.HTTPTransport):
    """Sends what is meant for the judge to a server in this process."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return super().handle_request(request)


@contextmanager
def judge(status: int = 200, reply: bytes = b"{}", stall: bool = False) -> Iterator[dict[str, Any]]:
    """A judge that always answers the same; gives its transport and what it was asked."""
    seen: dict[str, Any] = {}
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen["host"] = self.headers["host"]
            seen["body"] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", str(len(reply)))
            self.send_header("location", "https://judge.example/elsewhere")
            self.end_headers()
            if stall:
                over.wait()
            else:
                self.wfile.write(reply)

        def log_message(self, format: str, *_args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    seen["transport"] = Loopback(server.server_port)
    try:
        yield seen
    finally:
        over.set()
        server.shutdown()
        serving.join()
        server.server_close()


def test_the_judge_sees_captions_and_digest_and_its_scores_are_the_reward() -> None:
    with judge(reply=b'{"scores": [1, -2.5, 0]}') as asked:
        reward = {"sum": [{"weight": 2, "reward": JUDGE}, {"type": "pac_s"}]}
        assert score(reward, asked["transport"]) == pytest.approx([2.5, -4.3, 0.9])
    assert asked["body"] == {"image_sha256": "ab" * 32, "captions": TEXTS}
    assert asked["host"] == "judge.example"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": 503}, "JUDGE_REFUSED"),
        ({"status": 302}, "JUDGE_REFUSED"),
        ({"reply": b"oops"}, "JUDGE_REPLY_INVALID"),
        ({"reply": b"[1, 2, 3]"}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2]}'}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2, "3"]}'}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2, true]}'}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2, NaN]}'}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2, 1e9]}'}, "JUDGE_REPLY_INVALID"),
        ({"reply": b'{"scores": [1, 2, 1' + b"0" * 400 + b"]}"}, "JUDGE_REPLY_INVALID"),
        ({"reply": b"[" * 60_000}, "JUDGE_REPLY_INVALID"),
        ({"reply": b" " * 65_537}, "JUDGE_REPLY_TOO_LARGE"),
        ({"reply": b"x", "stall": True}, "JUDGE_TIMEOUT"),
    ],
)
def test_a_judge_that_gives_no_scores_is_a_typed_error(answer: dict[str, Any], code: str) -> None:
    with judge(**answer) as asked, pytest.raises(JudgeError) as raised:
        score(JUDGE, asked["transport"])
    assert raised.value.code == code


def test_a_judge_that_is_not_there_is_a_typed_error() -> None:
    with judge() as asked:
        transport = asked["transport"]
    with pytest.raises(JudgeError) as raised:
        score(JUDGE, transport)
    assert raised.value.code == "JUDGE_UNREACHABLE"
