"""The server's settings, parsed once from the environment."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.backoff import Backoff

SIGNING_KEY_ENV = "DICO_SIGNING_KEY"


class SettingsError(ValueError):
    """The environment does not describe a server that could work."""


@dataclass(frozen=True)
class Settings:
    """All that may differ between two servers.

    Attributes:
        trainer_token: What callers present as Bearer token.
        signing_key: Base64 of the 32-byte Ed25519 seed that signs published versions.
        jobs_dir: One folder per job lies here; it must outlive the process.
        bases_dir: Folders of published base versions.
        concurrent_jobs: Jobs that train at the same time.
        training_command: The training program; job, base and key options are appended.
        backoff: Waits between attempts to reach the edge.
        edge_patience_seconds: How long downloads and uploads wait for an edge out of reach.
    """

    trainer_token: str = field(repr=False)
    signing_key: str = field(repr=False)
    jobs_dir: Path = Path(".data/trainer")
    bases_dir: Path = Path("models")
    concurrent_jobs: int = 1
    training_command: tuple[str, ...] = (sys.executable, "-m", "dico", "update")
    backoff: Backoff = field(default_factory=Backoff)
    edge_patience_seconds: float = 3600.0


def settings_from_env(env: Mapping[str, str]) -> Settings:
    """Reads the settings.

    Raises:
        SettingsError: A secret is missing, or a value cannot be used.
    """
    token = env.get("TRAINER_TOKEN", "")
    if len(token) < 16:
        raise SettingsError("TRAINER_TOKEN must be set, with at least 16 characters")
    try:
        seed = base64.b64decode(env.get(SIGNING_KEY_ENV, ""), validate=True)
    except binascii.Error:
        seed = b""
    if len(seed) != 32:
        raise SettingsError(f"{SIGNING_KEY_ENV} must be the base64 of a 32-byte Ed25519 seed")
    concurrent = env.get("CONCURRENT_JOBS", "1")
    if not concurrent.isdecimal() or int(concurrent) < 1:
        raise SettingsError("CONCURRENT_JOBS must be a whole number of at least 1")
    return Settings(
        trainer_token=token,
        signing_key=env[SIGNING_KEY_ENV],
        jobs_dir=Path(env.get("JOBS_DIR", ".data/trainer")),
        bases_dir=Path(env.get("BASES_DIR", "models")),
        concurrent_jobs=int(concurrent),
    )
