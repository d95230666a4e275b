"""The GPU worker's HTTP API: take a job, tell about it, cancel it."""

from __future__ import annotations

import hmac
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import torch
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from server import VERSION
from server.contract import TrainerJob, TrainerJobRequest
from server.job_folder import JobFolder
from server.launcher import Launcher, ProcessLauncher
from server.problems import ProblemError, problem
from server.runner import JobConflictError, Runner, describe
from server.settings import Settings, settings_from_env

MAX_BODY_BYTES = 100_000
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def create_app(settings: Settings, launcher: Launcher | None = None) -> FastAPI:
    """The server; unfinished jobs go on as soon as it starts."""
    runner = Runner(settings, launcher or ProcessLauncher(settings))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        runner.start()
        yield
        runner.stop()

    app = FastAPI(
        title="GPU worker", version=VERSION, lifespan=lifespan, docs_url=None, openapi_url=None
    )
    _answer_errors_as_problems(app)

    def authorised(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {settings.trainer_token}".encode()):
            raise ProblemError("UNAUTHORIZED", "present the trainer token")

    def job_of(job_id: str) -> JobFolder:
        job = runner.find(job_id)
        if job is None:
            raise ProblemError("JOB_NOT_FOUND", "no job has this id")
        return job

    @app.get("/healthz")
    def health() -> dict[str, object]:
        cuda = torch.cuda.is_available()
        return {
            "object": "health",
            "status": "ok",
            "version": VERSION,
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "waiting_jobs": runner.waiting,
        }

    @app.post("/v1/jobs", status_code=202, dependencies=[Depends(authorised)])
    def submit(request: TrainerJobRequest) -> TrainerJob:
        try:
            return runner.submit(request)
        except JobConflictError as error:
            raise ProblemError("JOB_CONFLICT", "this id belongs to another request") from error

    @app.get("/v1/jobs/{job_id}", dependencies=[Depends(authorised)])
    def show(job_id: str) -> TrainerJob:
        return describe(job_of(job_id))

    @app.delete("/v1/jobs/{job_id}", status_code=202, dependencies=[Depends(authorised)])
    def cancel(job_id: str) -> TrainerJob:
        job = job_of(job_id)
        if not job.terminal:
            job.request_cancel()
        return describe(job)

    return app


def create_app_from_env() -> FastAPI:
    """Entry of uvicorn: `uvicorn --factory server.app:create_app_from_env`."""
    return create_app(settings_from_env(os.environ))


def _answer_errors_as_problems(app: FastAPI) -> None:
    @app.middleware("http")
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        request.state.request_id = request_id
        if request.method in ("POST", "PUT", "PATCH"):
            length = request.headers.get("content-length", "")
            if not length.isdecimal():
                return problem("LENGTH_REQUIRED", "send Content-Length", request_id)
            if int(length) > MAX_BODY_BYTES:
                return problem("BODY_TOO_LARGE", f"at most {MAX_BODY_BYTES} bytes", request_id)
        response = await call_next(request)
        response.headers["X-Request-Id"] = request_id
        return response

    @app.exception_handler(ProblemError)
    async def refused(request: Request, error: ProblemError) -> Response:
        return problem(error.code, error.detail, request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"pointer": "/" + "/".join(str(p) for p in e["loc"][1:]), "detail": e["msg"]}
            for e in error.errors()
        ]
        detail = "the request breaks the contract"
        return problem("INVALID_REQUEST", detail, request.state.request_id, errors)

    @app.exception_handler(HTTPException)
    async def unknown_route(request: Request, error: HTTPException) -> Response:
        code = "METHOD_NOT_ALLOWED" if error.status_code == 405 else "NOT_FOUND"
        return problem(code, "see the contract", request.state.request_id)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        return problem("INTERNAL", "the server failed", request.state.request_id)
