"""Runs a fine-tune job to its result: trains, publishes the version folder, writes result.json."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from dico.base_version import BaseVersion
from dico.evaluators.storage import file_digest
from dico.export.layout import ProbeError, write_version
from dico.export.manifest import Lineage
from dico.job import Progress, Trained, train
from dico.pixels import ImageError, load_pixels
from dico.report import LearningReport
from dico.screening import Rejection

# The same everywhere: the last bits of a sum depend on their number.
THREADS = 2
# Images on which PyTorch and onnxruntime have to agree before a version leaves the worker.
PARITY_IMAGES = 64


def run_job(folder: Path, base_folder: Path, signing_seed: str) -> dict[str, Any]:
    """Runs or goes on with the job in `folder`; the result is also in its result.json.

    A failure that the caller can do something about is a result; any other error is raised, and
    the job runner tries again from the last checkpoint.
    """
    finished = folder / "result.json"
    if finished.exists():
        return json.loads(finished.read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":  # one seed, one result, on any number of cores
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(mode=True)
    progress, report = Progress(folder / "progress.jsonl"), LearningReport()
    try:
        base = BaseVersion.open(base_folder, device)
        trained = train(folder, base, progress, report)
        with report.phase("export"):
            result = _publish(folder, base, trained, signing_seed, progress)
    except Rejection as rejection:
        result = {
            "status": "rejected",
            "code": rejection.code,
            "message": str(rejection)[:1000],
            "help": [sentence[:500] for sentence in rejection.help[:10]],
            "end_users": rejection.end_users[:20],
        }
    except ProbeError as error:
        result = {
            "status": "failed",
            "code": "NO_CLEAR_PROBE",
            "message": str(error),
            "retryable": False,
        }
    report.write(folder / "report.json")
    partial = finished.with_suffix(".partial")
    partial.write_text(json.dumps(result))
    os.replace(partial, finished)
    return result


def _publish(
    folder: Path, base: BaseVersion, trained: Trained, signing_seed: str, progress: Progress
) -> dict[str, Any]:
    progress.write("state", state="exporting")
    job = json.loads((folder / "job.json").read_text())
    evaluators = base.folder / "training" / "evaluators.safetensors"
    version = write_version(
        folder / "version",
        base.tower,
        trained.policy,
        base.folder / "tokenizer.json",
        model=job["model"],
        probe_images=_probes(base.folder / "probe.png"),
        parity_pixels=_parity_pixels(folder / "images", base.image_size),
        signing_seed=signing_seed,
        lineage=Lineage(
            base_manifest_sha256=base.manifest_sha256,
            parent=job["parent_manifest_sha256"],
            job_id=job["job_id"],
            dataset_sha256=job["dataset"]["sha256"],
        ),
        evaluators={"pac": file_digest(evaluators)},
        metrics=trained.evaluation,
        training={"method": job["method"], "seed": job["seed"], **trained.settings.flat()},
    )
    return {
        "status": "succeeded",
        "manifest_sha256": version.manifest_sha256,
        "files": [
            {"path": file.path, "sha256": file.sha256, "size": file.size} for file in version.files
        ],
        "signature": version.signature,
        "evaluation": trained.evaluation,
    }


def _probes(base_probe: Path) -> list[bytes]:
    """The base's probe and variants of it: a tenant's picture never becomes part of a version."""
    with Image.open(base_probe) as opened:
        image = opened.convert("RGB")
    side = image.width
    inner = image.crop((side // 8, side // 8, side - side // 8, side - side // 8))
    variants = [image, ImageOps.mirror(image), inner, ImageOps.mirror(inner)]
    return [base_probe.read_bytes(), *(_png(variant) for variant in variants[1:])]


def _png(image: Image.Image) -> bytes:
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return stored.getvalue()


def _parity_pixels(images: Path, side: int) -> np.ndarray:
    """The first readable images of the job, [B, 3, side, side]."""
    found: list[np.ndarray] = []
    for path in sorted(images.iterdir()):
        try:
            found.append(load_pixels(path.read_bytes(), side))
        except ImageError:
            continue
        if len(found) == PARITY_IMAGES:
            break
    return np.stack(found)
