"""A version folder is believed only when signature and every digest hold."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from dico.export.manifest import (
    MANIFEST,
    SIGNATURE,
    Lineage,
    Manifest,
    Probe,
    VersionError,
    VersionFile,
    canonical_json,
    list_files,
    public_key,
    read_version,
    sha256_hex,
    sign,
    unpublish,
    verify,
    version_id,
    write_manifest,
)
from pydantic import ValidationError

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEED = base64.b64encode(bytes(range(32))).decode()
OTHER_SEED = base64.b64encode(bytes(32)).decode()
KEYS = [public_key(OTHER_SEED), public_key(SEED)]
PROBE = Probe(
    image="probe.png", num_beams=5, max_new_tokens=32, expected_tokens=[3, 1], expected_caption="a"
)


def manifest_of(files: list[VersionFile]) -> Manifest:
    return Manifest(
        model="scenes",
        files=files,
        lineage=Lineage(),
        evaluators={},
        metrics={"rate": 0.5},
        parity={},
        probe=PROBE,
        training={},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed folder of two files, with a model card that is no part of it."""
    folder = tmp_path / "version"
    (folder / "onnx").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "onnx/encoder_model.onnx").write_bytes(b"\x08\x09")
    (folder / "README.md").write_text("a model card")
    write_manifest(folder, manifest_of(list_files(folder)), SEED)
    return folder


def test_a_written_folder_reads_back(folder: Path) -> None:
    manifest = read_version(folder, KEYS)
    assert [file.path for file in manifest.files] == ["config.json", "onnx/encoder_model.onnx"]
    assert manifest.to_bytes() == (folder / MANIFEST).read_bytes()


def test_the_version_is_named_after_its_manifests_bytes(folder: Path) -> None:
    data = (folder / MANIFEST).read_bytes()
    assert version_id(data) == f"ver_{sha256_hex(data)[:24]}"


def test_equal_manifests_have_equal_bytes() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


@pytest.mark.parametrize("path", ["config.json", "onnx/encoder_model.onnx"])
def test_an_altered_file_is_refused(folder: Path, path: str) -> None:
    content = (folder / path).read_bytes()
    (folder / path).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(VersionError, match=path):
        read_version(folder, KEYS)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(VersionError, match="missing"):
        read_version(folder, KEYS)


def test_an_altered_manifest_is_refused(folder: Path) -> None:
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(data.replace(b'"rate":0.5', b'"rate":0.9'))
    with pytest.raises(VersionError, match="signed"):
        read_version(folder, KEYS)


def test_a_signature_by_another_key_is_refused(folder: Path) -> None:
    with pytest.raises(VersionError, match="signed"):
        read_version(folder, [public_key(OTHER_SEED)])
    with pytest.raises(VersionError, match="signed"):
        read_version(folder, [])


@pytest.mark.parametrize("signature", ["", "not base64!", "QUJD"])
def test_a_broken_signature_is_refused(folder: Path, signature: str) -> None:
    (folder / SIGNATURE).write_text(signature)
    with pytest.raises(VersionError, match="signed"):
        read_version(folder, KEYS)


def test_an_unpublished_folder_is_no_version(folder: Path) -> None:
    unpublish(folder)
    with pytest.raises(VersionError, match="missing"):
        read_version(folder, KEYS)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "onnx/../../secret", "onnx//x", ".hidden", "a\\b", "a\n"]
)
def test_a_path_that_leaves_the_folder_is_refused_even_when_signed(folder: Path, path: str) -> None:
    (folder.parent / "secret").write_bytes(b"")
    with pytest.raises(ValidationError):
        VersionFile(path=path, sha256=sha256_hex(b""), size=0)
    content = json.loads((folder / MANIFEST).read_bytes())
    content["files"][0] = {"path": path, "sha256": sha256_hex(b""), "size": 0}
    sign_anew(folder, content)
    with pytest.raises(VersionError, match="not a manifest"):
        read_version(folder, KEYS)


def test_a_link_that_leaves_the_folder_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_text("{}")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(outside)
    with pytest.raises(VersionError, match="missing"):
        read_version(folder, KEYS)


def test_a_path_listed_twice_is_refused(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_bytes())
    content["files"].append(content["files"][0])
    sign_anew(folder, content)
    with pytest.raises(VersionError, match="not a manifest"):
        read_version(folder, KEYS)


def sign_anew(folder: Path, content: object) -> None:
    data = canonical_json(content)
    (folder / MANIFEST).write_bytes(data)
    (folder / SIGNATURE).write_text(sign(data, SEED))


def test_signing_needs_a_key_of_the_right_size() -> None:
    verify(b"data", sign(b"data", SEED), KEYS)
    with pytest.raises(ValueError, match="32 bytes"):
        sign(b"data", base64.b64encode(b"short").decode())
    with pytest.raises(ValueError, match="32 bytes"):
        sign(b"data", "???")


def test_the_committed_test_versions_are_whole_and_share_their_encoder(tmp_path: Path) -> None:
    keys = [json.loads((FIXTURES / "tiny-version-key.json").read_text())["public_key"]]
    first, second = (
        read_version(FIXTURES / name, keys) for name in ("tiny-version", "tiny-version-2")
    )
    digest = sha256_hex((FIXTURES / "tiny-version" / MANIFEST).read_bytes())
    assert (second.lineage.parent, second.lineage.base_manifest_sha256) == (digest, digest)
    shared = {file.sha256 for file in first.files} & {file.sha256 for file in second.files}
    by_path = {file.path: file.sha256 for file in first.files}
    assert by_path["onnx/encoder_model.onnx"] in shared
    assert by_path["onnx/decoder_model_merged.onnx"] not in shared

    copy = shutil.copytree(FIXTURES / "tiny-version", tmp_path / "copy")
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(VersionError, match=r"tokenizer\.json"):
        read_version(copy, keys)
