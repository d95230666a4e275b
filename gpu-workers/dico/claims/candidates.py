"""Where a step's candidates come from: the policy's beams, the reference's, or people."""

from __future__ import annotations

import torch

from dico.base_version import BaseVersion
from dico.candidates import Candidates
from dico.captioner import Captioner
from dico.claims.judges import Judges
from dico.claims.methods import Method
from dico.claims.pictures import Pictures
from dico.scoring import score_sequences
from dico.search import beam_search
from dico.update import Example, ExampleSource, Hyperparameters, rows_of_step


def source_of(
    method: Method,
    base: BaseVersion,
    pictures: Pictures,
    judges: Judges,
    settings: Hyperparameters,
    seed: int,
) -> ExampleSource:
    """Examples of each step; every method sees the same images in the same order for a seed."""
    kept: dict[int, Example] = {}

    def draw(policy: Captioner, step: int) -> list[Example]:
        rows = rows_of_step(len(pictures), settings.batch, step, seed)
        if method.candidates == "policy":
            return _examples(method, base, policy, pictures, judges, rows)
        missing = [row for row in dict.fromkeys(rows) if row not in kept]
        if missing:
            found = _examples(method, base, base.captioner, pictures, judges, missing)
            kept.update(zip(missing, found, strict=True))
        return [kept[row] for row in rows]

    return draw


@torch.no_grad()
def _examples(
    method: Method,
    base: BaseVersion,
    author: Captioner,
    pictures: Pictures,
    judges: Judges,
    rows: list[int],
) -> list[Example]:
    """One example of each image, all with the same number of candidates."""
    hidden = pictures.hidden[rows]
    if method.candidates == "people":
        tokens = [
            [tuple(base.tokenizer.encode(caption)) for caption in pictures.human_captions[row]]
            for row in rows
        ]
    else:
        seen = author.encode(pictures.features[rows]) if method.train_encoder else hidden
        found = beam_search(author, seen, num_beams=method.beams)
        tokens = [[candidate.tokens for candidate in image] for image in found]
    texts = [[base.tokenizer.decode(ids) for ids in image] for image in tokens]
    rewards = judges.rewards(method.reward, pictures, rows, texts)  # [B, K]
    # A caption that was cut off is scored with EOS at its end, like one that is finished.
    scored = score_sequences(
        base.captioner, hidden, [list(ids) for image in tokens for ids in image]
    )
    shape = (len(rows), len(tokens[0]))
    logps, states = scored.logps.view(shape), scored.mean_states.unflatten(0, shape)
    return [
        Example(
            hidden[index],
            Candidates(ids, logps[index], rewards[index], states[index], float(logps[index].max())),
            rewards[index],
            pictures.features[row] if method.train_encoder else None,
        )
        for index, (row, ids) in enumerate(zip(rows, tokens, strict=True))
    ]
