"""The commands of the built-in domain: draw captioned scenes, and check captions against them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from PIL import Image

from scenes.checker import Check, check, shares
from scenes.composer import draw_scene
from scenes.contact_sheet import Cell, contact_sheet
from scenes.grammar import human_captions
from scenes.sampler import sample_scene
from scenes.scene import Scene
from scenes.scene_json import scene_from_json, scene_to_json
from scenes.sprites import HELD_OUT_STYLE, TRAINING_STYLES
from scenes.tastes import TASTES, approves

STYLES = (*TRAINING_STYLES, HELD_OUT_STYLE)
# More would make a sheet that no viewer opens.
_SHEET_LIMIT = 64
_Item = TypeVar("_Item")


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns, as far as it is needed."""

    def add_parser(self, name: str, *, help: str) -> argparse.ArgumentParser:
        """Adds a command."""
        ...


def add_scenes_commands(subparsers: Subparsers) -> None:
    """Adds `scenes` and `check`; each sets `run`, a function of the parsed arguments."""
    draw = subparsers.add_parser("scenes", help="draw scenes with captions and a contact sheet")
    draw.add_argument("--count", type=_positive, default=16, help="how many scenes (16)")
    draw.add_argument("--out", type=Path, required=True, help="folder to write into")
    draw.add_argument("--seed", type=int, default=0, help="the first scene's seed (0)")
    draw.add_argument(
        "--style",
        choices=[*STYLES, "each", "trained"],
        default="each",
        help="art style; each: one after the other; trained: those the model learnt (each)",
    )
    draw.add_argument("--size", type=_positive, default=256, help="side in pixels (256)")
    draw.add_argument("--quality", type=_positive, default=90, help="JPEG quality (90)")
    draw.set_defaults(run=_run_scenes)

    judge = subparsers.add_parser("check", help="check captions against their scenes")
    judge.add_argument("--scenes", type=Path, required=True, help="a captions.json of `scenes`")
    judge.add_argument(
        "--captions",
        type=Path,
        required=True,
        help='JSON lines, {"file" or "index": which picture, "caption": text}; - for stdin',
    )
    judge.add_argument("--taste", choices=sorted(TASTES), help="also say whether it pleases")
    judge.set_defaults(run=_run_check)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _run_scenes(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    styles = {"each": STYLES, "trained": TRAINING_STYLES}.get(arguments.style, (arguments.style,))
    digits = max(3, len(str(arguments.count)))
    pictures: list[dict[str, Any]] = []
    cells: list[Cell] = []
    for number in _with_progress(range(arguments.count), arguments.count, "scenes"):
        scene = sample_scene(arguments.seed + number)
        style = styles[number % len(styles)]
        picture = draw_scene(scene, style, arguments.size)
        file = f"{number + 1:0{digits}}.jpg"
        _save_jpeg(picture, out / file, arguments.quality)
        captions = human_captions(scene)
        pictures.append(
            {"file": file, "style": style, "captions": captions, "scene": scene_to_json(scene)}
        )
        if number < _SHEET_LIMIT:
            cells.append(Cell(picture, f"{file}  {style}", captions))
    _write_text(out / "captions.json", json.dumps({"pictures": pictures}, indent=1) + "\n")
    lines = [f"{each['file']}\t{caption}\n" for each in pictures for caption in each["captions"]]
    _write_text(out / "captions.txt", "".join(lines))
    contact_sheet(cells).save(out / "contact-sheet.png")
    print(f"{arguments.count} scenes in {out}: look at {out / 'contact-sheet.png'}")
    return 0


def _save_jpeg(picture: Image.Image, path: Path, quality: int) -> None:
    picture.convert("RGB").save(path, format="JPEG", quality=quality, subsampling=0)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _run_check(arguments: argparse.Namespace) -> int:
    try:
        scenes, files = _read_scenes(arguments.scenes)
        judged = list(_judge(arguments, scenes, files))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line, _, _ in judged:
        print(json.dumps(line))
    if judged:
        summary = shares([result for _, result, _ in judged], [scene for *_, scene in judged])
        approved = [line["approved"] for line, _, _ in judged if "approved" in line]
        figures = asdict(summary)
        if approved:
            figures["approved"] = sum(approved) / len(approved)
        print(json.dumps(figures), file=sys.stderr)
    return 0


def _read_scenes(path: Path) -> tuple[list[Scene], dict[str, int]]:
    try:
        pictures = json.loads(path.read_text(encoding="utf-8"))["pictures"]
        files = {picture["file"]: index for index, picture in enumerate(pictures)}
        return [scene_from_json(picture["scene"]) for picture in pictures], files
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no captions.json of `scenes`: {error!r}") from error


def _judge(
    arguments: argparse.Namespace, scenes: list[Scene], files: dict[str, int]
) -> Iterator[tuple[dict[str, Any], Check, Scene]]:
    source: Path = arguments.captions
    text = sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
    taste = TASTES[arguments.taste] if arguments.taste else None
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(_with_progress(lines, len(lines), "captions"), start=1):
        try:
            row = json.loads(line)
            index = files[row["file"]] if "file" in row else int(row["index"])
            if index < 0:
                raise IndexError(index)
            caption, scene = str(row["caption"]), scenes[index]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{source}, line {number}: {error!r}") from error
        result = check(caption, scene)
        judged = row | check_to_json(result)
        if taste is not None:
            judged["approved"] = approves(taste, caption, scene)
        yield judged, result, scene


def check_to_json(result: Check) -> dict[str, Any]:
    """A check as plain JSON values."""
    return {
        "grammatical": result.grammatical,
        "clean": result.clean,
        "n_right": result.n_right,
        "n_wrong": result.n_wrong,
        "wrong_kinds": list(result.wrong_kinds),
        "left_out": list(result.left_out),
        "repetition": result.repetition,
        "facts": [asdict(fact) for fact in result.facts],
    }


def _with_progress(items: Iterable[_Item], total: int, noun: str) -> Iterator[_Item]:
    """Passes the items on; after two seconds it says how far it is, on standard error."""
    started = said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said > 2:
            left = (now - started) / done * (total - done) if done else 0.0
            print(f"{done} of {total} {noun}, about {left:.0f} s left", file=sys.stderr)
            said = now
        yield item
