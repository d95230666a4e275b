"""`python -m dico evaluate`: every metric of a version on captioned pictures, and a report."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dico.base_version import BaseVersion
    from dico.metrics.captioned_images import CaptionedImages
    from dico.metrics.evaluation import Evaluation
    from dico.metrics.facts import Judged


class VersionError(ValueError):
    """A folder cannot be opened as a version."""


def add_evaluate_command(commands: Any) -> None:
    """Registers the command; PyTorch is loaded only when it runs."""
    evaluate = commands.add_parser(
        "evaluate", help="captions pictures with a version and prints every metric"
    )
    evaluate.add_argument("--version", type=Path, required=True, help="folder of the version")
    evaluate.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with pictures and captions.json: {file: [captions]}, that of `scenes`, "
        "or COCO's annotations (also as annotations.json)",
    )
    evaluate.add_argument("--out", type=Path, help="folder for metrics.json and report.html")
    evaluate.add_argument("--limit", type=_positive, help="only the first N pictures")
    evaluate.add_argument("--base", type=Path, help="version to measure the drift from")
    evaluate.add_argument(
        "--java", action="store_true", help="also METEOR and SPICE, where Java and they are there"
    )
    evaluate.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Captions, measures, prints, writes; 2 and one sentence where the input is unusable."""
    from dico.metrics.captioned_images import DataError, read_captioned_images
    from dico.metrics.captioning import caption_images
    from dico.metrics.evaluation import evaluate

    try:
        data = read_captioned_images(arguments.data, arguments.limit)
        judge = _scene_judge(data)
        version = _open(arguments.version)
        base = None if arguments.base is None else _open(arguments.base)
        if base is not None and base.tokenizer.to_json() != version.tokenizer.to_json():
            raise VersionError(f"{base.folder} has another tokenizer than {version.folder}")
        captioned = caption_images(version, base, data.images, _progress(len(data.images)))
        evaluation = evaluate(
            version, data.images, captioned, judge=judge, with_java=arguments.java
        )
        print(_table(evaluation))
        if arguments.out is not None:
            _write(arguments.out, arguments, version, base, data, evaluation)
    except (DataError, VersionError, OSError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


def _open(folder: Path) -> BaseVersion:
    import torch

    from dico.base_version import BaseVersion

    # More threads than one only slow a model this small down.
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return BaseVersion.open(folder, device)
    except Exception as error:
        # Whatever a broken file makes JSON, safetensors or PyTorch say, its owner needs one line.
        reason = (str(error).splitlines() or [""])[0]
        raise VersionError(f"{folder} cannot be opened as a version: {reason}") from error


def _scene_judge(data: CaptionedImages) -> Callable[[str, object], Judged] | None:
    """The checker, where the captions file brought every picture's scene graph."""
    if not all(image.scene for image in data.images):
        return None
    from scenes.checker import check
    from scenes.scene_json import scene_from_json

    from dico.metrics.captioned_images import DataError
    from dico.metrics.facts import Judged

    try:
        scenes = {id(image.scene): scene_from_json(image.scene) for image in data.images}
    except ValueError as error:
        raise DataError("the captions file holds a scene that is none") from error

    def judge(caption: str, scene: object) -> Judged:
        graph = scenes[id(scene)]
        found = check(caption, graph)
        kinds = [group.kind for group in graph.groups]
        missing = len(kinds) if found.parsed is None else sum(k in found.left_out for k in kinds)
        return Judged(
            right=found.n_right,
            wrong=found.n_wrong,
            invented=len(found.wrong_kinds),
            named=len(kinds) - missing,
            things=len(kinds),
            readable=found.grammatical,
        )

    return judge


def _progress(total: int) -> Callable[[int], None]:
    """Says on standard error, every two seconds, how far the captioning is."""
    started = said = time.monotonic()

    def tell(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > 2:
            left = (now - started) / done * (total - done)
            print(f"{done} of {total} pictures, about {left:.0f} s left", file=sys.stderr)
            said = now

    return tell


def _table(evaluation: Evaluation) -> str:
    lines = [f"{len(evaluation.pictures)} pictures"]
    for group, figures in evaluation.figures.items():
        lines.append(f"\n{group}")
        for name, value in figures.items():
            lines.append(f"  {name:<24}{'undefined' if value is None else f'{value:.4f}':>10}")
    lines += [f"\n{name} is absent: {reason}" for name, reason in evaluation.absent.items()]
    return "\n".join(lines)


def _write(
    out: Path,
    arguments: argparse.Namespace,
    version: BaseVersion,
    base: BaseVersion | None,
    data: CaptionedImages,
    evaluation: Evaluation,
) -> None:
    from dico.metrics.html_report import html_report

    made_of = {
        "version": arguments.version.name,
        "version_manifest_sha256": version.manifest_sha256,
        **({} if base is None else {"base_manifest_sha256": base.manifest_sha256}),
        "captions_sha256": data.sha256,
        "images": len(data.images),
        "human_captions": sum(len(image.human_captions) for image in data.images),
    }
    out.mkdir(parents=True, exist_ok=True)
    content = {"object": "evaluation", "made_of": made_of, **evaluation.to_json()}
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    shown = {name: str(value) for name, value in made_of.items()} | {
        f"{name}: {key}": str(value)
        for name, provenance in evaluation.evaluators.items()
        for key, value in provenance.items()
        if key != "score"
    }
    title = f"{arguments.version.name} on {arguments.data.name}"
    paths = [image.path for image in data.images]
    page = html_report(evaluation, title, shown, paths)
    (out / "report.html").write_text(page, encoding="utf-8")
    print(f"\nwrote {out / 'metrics.json'} and {out / 'report.html'}")
