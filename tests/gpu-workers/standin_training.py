"""Stands in for the training process, to test the runner around it: behaves as told.

The job's seed chooses: 1 succeeds, 2 fails, 3 crashes always, 4 crashes once, 5 never ends,
6 is rejected, 7 succeeds with a report.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

folder = Path(sys.argv[sys.argv.index("--job-dir") + 1])
seed = json.loads((folder / "job.json").read_text())["seed"]
starts = folder / "starts"
starts.write_text((starts.read_text() if starts.exists() else "") + f"{os.getpid()}\n")
attempt = len(starts.read_text().splitlines())


def say(kind: str, **data: object) -> None:
    with (folder / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"type": kind, **data}) + "\n")


say("state", state="training")
if seed == 3 or (seed == 4 and attempt == 1):
    os._exit(9)
if seed == 5 and attempt == 1:
    while True:
        time.sleep(0.05)
say("progress", phase="dico", step=1, total_steps=1, loss=0.7)
if seed == 2:
    result: dict[str, object] = {
        "status": "failed", "code": "TOO_FEW_THUMBS", "message": "2 thumbs", "retryable": False,
    }  # fmt: skip
elif seed == 6:
    (folder / "report.json").write_text('{"object": "learning_report"}')
    result = {
        "status": "rejected", "code": "CONTRADICTORY_THUMBS", "message": "ann and bob disagree",
        "help": ["Ask ann and bob to agree."], "end_users": ["ann", "bob"],
    }  # fmt: skip
else:
    version = folder / "version"
    version.mkdir(exist_ok=True)
    files = {"config.json": b"{}", "manifest.json": b'{"object": "model_manifest"}'}
    for name, data in files.items():
        (version / name).write_bytes(data)
    if seed == 7:
        (folder / "report.json").write_text('{"object": "learning_report"}')
    same = {"before": 0.5, "after": 0.6}
    figures = ("predicted_approval", "evaluator_score", "repetition", "mean_length", "distinct")
    result = {
        "status": "succeeded",
        "manifest_sha256": hashlib.sha256(files["manifest.json"]).hexdigest(),
        "files": [{"path": "config.json", "sha256": hashlib.sha256(b"{}").hexdigest(), "size": 2}],
        "signature": "c2ln",
        "evaluation": {
            "examples": {"train": 1, "held_out": 1, "images": 2, "held_out_images": 1},
            "log_ratio": -0.1,
            "liked_length": 9.0,
            **dict.fromkeys((*figures, "ends_on_function_word"), same),
            "approval_gain": {"low": 0.01, "high": 0.2},
            "kl": 1.0,
            "preference_auc": 0.9,
            "held_out_thumbs_auc": None,
            "end_users": [],
            "blind_spots": [],
            "warnings": [],
        },
    }
partial = folder / "result.partial"
partial.write_text(json.dumps(result))
partial.rename(folder / "result.json")
