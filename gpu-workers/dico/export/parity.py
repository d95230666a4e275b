"""Runs a version on onnxruntime and measures how closely it follows PyTorch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from dico.captioner import Captioner
from dico.parallel import map_forked
from dico.search import Candidate, beam_search
from dico.towers.joint import AnyTower

Arrays = dict[str, np.ndarray]

# Images that are compared together.
AT_ONCE = 8


@dataclass(frozen=True)
class Generation:
    """The search that a version is made for; `generation_config.json`."""

    num_beams: int = 5
    max_new_tokens: int = 32
    length_penalty: float = 1.0


@dataclass(frozen=True)
class Parity:
    """What `manifest.json` says under `parity`.

    Attributes:
        images: How many were compared.
        token_exact_fp32: Share of images whose best caption has PyTorch's tokens.
        token_exact_int8: The same for the quantised files.
        max_abs_logit_diff: Largest difference of a logit along PyTorch's best captions, fp32.
    """

    images: int
    token_exact_fp32: float
    token_exact_int8: float
    max_abs_logit_diff: float


class OnnxCaptioner:
    """A version folder on onnxruntime, one image at a time, as the edge runs it."""

    def __init__(self, folder: Path, *, quantized: bool = False) -> None:
        suffix = "_quantized" if quantized else ""
        self._encoder = _session(folder / f"onnx/encoder_model{suffix}.onnx")
        self._decoder = _session(folder / f"onnx/decoder_model_merged{suffix}.onnx")
        config = json.loads((folder / "config.json").read_text())
        self._bos_id: int = config["decoder_start_token_id"]
        self._eos_id: int = config["eos_token_id"]
        generation = json.loads((folder / "generation_config.json").read_text())
        self.generation = Generation(
            generation["num_beams"], generation["max_new_tokens"], generation["length_penalty"]
        )
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._empty: Arrays = {
            put.name: np.zeros((1, put.shape[1], 0, put.shape[3]), np.float32)
            for put in self._decoder.get_inputs()
            if put.name.startswith("past_key_values.")
        }

    def encode(self, pixel_values: np.ndarray) -> np.ndarray:
        """[B, 3, side, side] -> encoder_hidden_states [B, S, d]."""
        return np.asarray(self._encoder.run(None, {"pixel_values": pixel_values})[0])

    def decode(self, input_ids: np.ndarray, encoder_hidden_states: np.ndarray) -> np.ndarray:
        """Teacher-forced logits: input_ids [N, T], states [E, S, d] -> [N, T, V]."""
        rows = {
            name: np.repeat(empty, len(input_ids), axis=0) for name, empty in self._empty.items()
        }
        return self._run(input_ids, encoder_hidden_states, rows, cached=False)["logits"]

    def caption(
        self, pixel_values: np.ndarray, generation: Generation | None = None
    ) -> list[list[Candidate]]:
        """Beam search over each image [B, 3, side, side]; best candidates first."""
        return [
            self._search(self.encode(image[None]), generation or self.generation)
            for image in pixel_values
        ]

    def _search(self, states: np.ndarray, generation: Generation) -> list[Candidate]:
        """The rules of `dico.search` on the decoder's own ranking; sums in float32."""
        beams, width = generation.num_beams, 2 * generation.num_beams
        live: list[tuple[tuple[int, ...], np.float32]] = [((), np.float32(0))]
        finished: list[Candidate] = []
        past, last, cached = dict(self._empty), [self._bos_id], False
        for length in range(1, generation.max_new_tokens + 1):
            step = self._run(np.array(last)[:, None], states, past, cached=cached)
            logps, ids = _ranked(step, width)
            expansions = [
                (np.float32(total + logps[beam, i]), beam, int(ids[beam, i]))
                for beam, (_, total) in enumerate(live)
                for i in range(ids.shape[1])
            ]
            expansions.sort(key=lambda e: (-e[0], e[1], e[2]))
            grown: list[tuple[np.float32, int, int]] = []
            for rank, (total, beam, token) in enumerate(expansions[:width]):
                if token != self._eos_id:
                    grown.append((total, beam, token))
                elif rank < beams:
                    score = _score(total, length, generation.length_penalty)
                    finished.append(Candidate(live[beam][0], float(total), score, finished=True))
            grown = grown[:beams]
            finished = sorted(finished, key=lambda c: -c.score)[:beams]
            live = [((*live[beam][0], token), total) for total, beam, token in grown]
            if not live:
                return finished
            bound = _score(live[0][1], length, generation.length_penalty)
            if len(finished) == beams and finished[-1].score >= bound:
                return finished
            parents = [beam for _, beam, _ in grown]
            past = {
                name: value[parents] if ".decoder." in name else value
                for name, value in _as_past(step).items()
            }
            last, cached = [token for _, _, token in grown], True
        rest = [
            Candidate(
                tokens,
                float(total),
                _score(total, len(tokens), generation.length_penalty),
                finished=False,
            )
            for tokens, total in live
        ]
        return finished + rest[: beams - len(finished)]

    def _run(
        self, input_ids: np.ndarray, states: np.ndarray, past: Arrays, *, cached: bool
    ) -> Arrays:
        feeds: Arrays = {
            "input_ids": input_ids.astype(np.int64),
            "encoder_hidden_states": states,
            "use_cache_branch": np.array([cached]),
            **past,
        }
        values = self._decoder.run(self._outputs, feeds)
        return {name: np.asarray(value) for name, value in zip(self._outputs, values, strict=True)}


def measure_parity(
    folder: Path, tower: AnyTower, captioner: Captioner, pixel_values: np.ndarray
) -> Parity:
    """Compares a written folder with the modules it was written from.

    Args:
        folder: Its graphs and configuration; a manifest is not needed yet.
        tower: In eval mode, on the CPU.
        captioner: The same.
        pixel_values: [B, 3, side, side], B >= 1.
    """

    @cache  # opened where the work is done
    def opened(quantized: bool) -> OnnxCaptioner:
        return OnnxCaptioner(folder, quantized=quantized)

    @torch.no_grad()
    def compare(pixels: np.ndarray) -> list[tuple[bool, bool, float]]:
        exact, quantised = opened(False), opened(True)
        features = tower(torch.from_numpy(pixels))
        searched = beam_search(captioner, captioner.encode(features), **asdict(exact.generation))
        compared: list[tuple[bool, bool, float]] = []
        for index, (expected, *_) in enumerate(searched):
            image = pixels[index : index + 1]
            input_ids = torch.tensor([[captioner.config.bos_id, *expected.tokens]])
            input_ids = input_ids[:, : exact.generation.max_new_tokens]
            logits = captioner(features[index : index + 1], input_ids).numpy()
            found = exact.decode(input_ids.numpy(), exact.encode(image))
            same = [
                each.caption(image)[0][0].tokens == expected.tokens for each in (exact, quantised)
            ]
            compared.append((same[0], same[1], float(np.abs(found - logits).max())))
        return compared

    count = len(pixel_values)
    chunks = [pixel_values[start : start + AT_ONCE] for start in range(0, count, AT_ONCE)]
    every = [each for part in map_forked(compare, chunks) for each in part]
    same_exact, same_quantised, differences = zip(*every, strict=True)
    return Parity(count, sum(same_exact) / count, sum(same_quantised) / count, max(differences))


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _score(total: np.float32, length: int, length_penalty: float) -> float:
    return float(total / np.float32(length**length_penalty))


def _ranked(step: Arrays, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The last position's best tokens, `width` or more: log-probabilities and ids, [N, W]."""
    vocab = step["logits"].shape[2]
    if step["topk_ids"].shape[1] >= min(width, vocab):
        return step["topk_logprobs"], step["topk_ids"]
    last = step["logits"][:, -1]
    last = last - last.max(axis=1, keepdims=True)
    logps = last - np.log(np.exp(last).sum(axis=1, keepdims=True))
    ids = np.argsort(-logps, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(logps, ids, axis=1), ids


def _as_past(step: Arrays) -> Arrays:
    return {
        name.replace("present.", "past_key_values."): value
        for name, value in step.items()
        if name.startswith("present.")
    }
