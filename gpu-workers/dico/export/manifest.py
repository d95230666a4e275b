"""The manifest that makes a folder a version: digests, lineage, probe and signature.

A version is named after the digest of its manifest's bytes, which name all its other files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"

# The model card is about a version and may be corrected later, so it is no part of it.
UNLISTED = frozenset({MANIFEST, SIGNATURE, "README.md"})

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

# Plain segments only: nothing in a path can climb out of the version's folder.
FilePath = Annotated[
    str,
    Field(max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"),
]


class VersionError(ValueError):
    """A folder is not the version that it claims to be."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VersionFile(_Strict):
    """One file of a version."""

    path: FilePath
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class Lineage(_Strict):
    """Where a version comes from; all None for a base version.

    Attributes:
        base_manifest_sha256: The base version that its training started from.
        parent: Digest of the manifest of the version that served when its job was made.
        job_id: The fine-tune job.
        dataset_sha256: Digest of the data set's bytes.
    """

    base_manifest_sha256: Sha256 | None = None
    parent: Sha256 | None = None
    job_id: str | None = None
    dataset_sha256: Sha256 | None = None


class Evaluator(_Strict):
    """An evaluator that took part in making a version."""

    sha256: Sha256


class Probe(_Strict):
    """An image and the tokens, EOS included, that a runtime must give for it."""

    image: FilePath
    num_beams: Annotated[int, Field(ge=1, le=16)]
    max_new_tokens: Annotated[int, Field(ge=1, le=256)]
    expected_tokens: list[Annotated[int, Field(ge=0)]]
    expected_caption: str


class Manifest(_Strict):
    """`manifest.json`."""

    object: Literal["model_manifest"] = "model_manifest"
    format: Literal[1] = 1
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    files: Annotated[list[VersionFile], Field(min_length=1, max_length=100)]
    lineage: Lineage
    evaluators: dict[str, Evaluator]
    metrics: dict[str, Any]
    parity: dict[str, Any]
    probe: Probe
    training: dict[str, Any]

    @model_validator(mode="after")
    def _lists_each_path_once(self) -> Manifest:
        if len({file.path for file in self.files}) != len(self.files):
            raise ValueError("a path is listed twice")
        return self

    def to_bytes(self) -> bytes:
        """The one byte sequence of this manifest: sorted keys, no spaces, UTF-8."""
        return canonical_json(self.model_dump())


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def sha256_hex(data: bytes) -> str:
    """64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def version_id(manifest_bytes: bytes) -> str:
    """The version's name, derived from its content."""
    return f"ver_{sha256_hex(manifest_bytes)[:24]}"


def list_files(folder: Path) -> list[VersionFile]:
    """Digest and size of each file that belongs to the version, by path.

    Raises:
        pydantic.ValidationError: A file's name is not allowed in a version.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files: list[VersionFile] = []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if name not in UNLISTED:
            data = path.read_bytes()
            files.append(VersionFile(path=name, sha256=sha256_hex(data), size=len(data)))
    return files


def public_key(seed: str) -> str:
    """The base64 Ed25519 public key of a base64 32-byte seed."""
    return _base64(_signing_key(seed).verify_key.encode())


def sign(data: bytes, seed: str) -> str:
    """Base64 Ed25519 signature by the key of a base64 32-byte seed.

    Raises:
        ValueError: The seed is not 32 bytes in base64.
    """
    return _base64(_signing_key(seed).sign(data).signature)


def verify(data: bytes, signature: str, trusted_keys: Sequence[str]) -> None:
    """Accepts data signed by one of the base64 public keys.

    Raises:
        VersionError: None of the keys made the signature.
    """
    for key in trusted_keys:
        try:
            raw = base64.b64decode(signature, validate=True)
            VerifyKey(base64.b64decode(key, validate=True)).verify(data, raw)
        except (BadSignatureError, ValueError, TypeError):
            continue
        return
    raise VersionError("the manifest is not signed by a trusted key")


def write_manifest(folder: Path, manifest: Manifest, seed: str) -> bytes:
    """Signs and writes a manifest, itself last and at once: before, the folder is no version.

    Returns:
        The manifest's bytes, which `version_id` names.
    """
    data = manifest.to_bytes()
    (folder / SIGNATURE).write_text(sign(data, seed) + "\n")
    partial = folder / f"{MANIFEST}.partial"
    partial.write_bytes(data)
    os.replace(partial, folder / MANIFEST)
    return data


def unpublish(folder: Path) -> None:
    """Takes the manifest away, so that a folder being written again is no version meanwhile."""
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / SIGNATURE).unlink(missing_ok=True)


def read_version(folder: Path, trusted_keys: Sequence[str]) -> Manifest:
    """Checks signature, format and each file's digest, in this order.

    Files beside those listed are not read.

    Raises:
        VersionError: Something is missing, altered, wrongly signed or outside the folder.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
        signature = (folder / SIGNATURE).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise VersionError("the manifest or its signature is missing") from error
    verify(data, signature, trusted_keys)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise VersionError("manifest.json is not a manifest of this format") from error
    root = folder.resolve()
    for file in manifest.files:
        path = (folder / file.path).resolve()
        # A link may point anywhere, whatever its name is.
        if not path.is_relative_to(root) or not path.is_file():
            raise VersionError(f"{file.path} is missing")
        content = path.read_bytes()
        if len(content) != file.size or sha256_hex(content) != file.sha256:
            raise VersionError(f"{file.path} is not the file that the manifest lists")
    return manifest


def _signing_key(seed: str) -> SigningKey:
    try:
        return SigningKey(base64.b64decode(seed, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("a signing key is 32 bytes in base64") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
