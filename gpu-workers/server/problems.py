"""Errors as callers see them: RFC 9457 problems with a typed code."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

# code -> (status, title, whether the same request may work later)
_PROBLEMS: Mapping[str, tuple[int, str, bool]] = {
    "UNAUTHORIZED": (401, "The Bearer token is missing or wrong", False),
    "NOT_FOUND": (404, "There is nothing here", False),
    "JOB_NOT_FOUND": (404, "There is no such job", False),
    "METHOD_NOT_ALLOWED": (405, "This path does not know that method", False),
    "JOB_CONFLICT": (409, "Another job already has this id", False),
    "LENGTH_REQUIRED": (411, "The request must state its length", False),
    "BODY_TOO_LARGE": (413, "The request is too large", False),
    "INVALID_REQUEST": (422, "The request does not follow the contract", False),
    "INTERNAL": (500, "The server failed", True),
}


class ProblemError(Exception):
    """A refusal with a code that callers may rely on."""

    def __init__(self, code: str, detail: str) -> None:
        """Takes a code of the table above and a text that is safe to show."""
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def problem(
    code: str, detail: str, request_id: str, errors: list[dict[str, Any]] | None = None
) -> JSONResponse:
    """The response that tells a caller what went wrong."""
    status, title, retryable = _PROBLEMS[code]
    headers = {"X-Request-Id": request_id}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
            "request_id": request_id,
            "retryable": retryable,
            "errors": errors or [],
        },
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )
