"""Teaches the evaluators where things lie, before anything else."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scenes.kinds import KINDS
from scenes.scene import Scene
from torch import Tensor

from dico.evaluators.clip import Clip
from dico.pretraining.bank import Bank, bank_scene, centre_of
from dico.pretraining.clock import RunningMeans, warm_cosine
from dico.pretraining.streams import RelationStream, batches_of
from dico.tokenizer import Tokenizer
from dico.tower import Tower

LEARNING_RATE = 3e-3
# Of a thing at the edge of the picture, beside vectors of length 6 for all that is in it.
LENGTH = 6.0


def learn_layout(
    clip: Clip, tower: Tower, bank: Bank, tokenizer: Tokenizer, *, steps: int, seed: int
) -> None:
    """Teaches what relations are made of: where things lie in a picture, and in a caption.

    A scene's layout code is the sum over its things of a random vector of the kind and axis, times
    the place on that axis. `image_sides` learns to give the code of a picture, `text_neighbours`
    the code that a caption lets one expect: "left of" moves one noun to the left, the other to the
    right. The product of the two tells a true relation from a false one. The contrastive losses
    alone did not find this in 2,500 steps; by itself it takes a few minutes, for neither needs
    the layers of attention.
    """
    _weigh_kinds(clip, tower)
    width = clip.config.width
    generator = torch.Generator().manual_seed(0)
    codes = F.normalize(torch.randn(len(KINDS), 2, width, generator=generator), dim=-1)
    code_of = {kind.name: code for kind, code in zip(KINDS, codes, strict=True)}

    def layout_code(scene: Scene) -> Tensor:
        places = [torch.tensor(centre_of(group)) @ code_of[group.kind] for group in scene.groups]
        return torch.stack(places).sum(dim=0)  # [width]

    # Both projections read what they have to read from their last columns.
    of_images, of_texts = torch.zeros(width, 2 * width), torch.zeros(width, width)
    trained = [
        *clip.text_neighbours.parameters(),
        *clip.token_embedding.parameters(),
        *clip.image_sides.parameters(),
        of_images.requires_grad_(),
        of_texts.requires_grad_(),
    ]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE)
    stream = RelationStream(tokenizer, count=len(bank.entries), batch=192, seed=seed)
    means = RunningMeans()
    for step, (rows, tokens) in enumerate(batches_of(stream)):
        if step == steps:
            break
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm_cosine(step / steps)
        code = torch.stack([layout_code(bank_scene(row)) for row in rows.tolist()])  # [B, width]
        # Pictures are learnt faster than captions: a third of them will do.
        seen = clip.pool_sides(bank.features(tower, rows[::3])) @ of_images.T
        read = clip.pool_neighbours(tokens)[1] @ of_texts.T
        variance = code.square().sum(dim=1).mean()
        losses = {
            "image": (seen - code[::3]).square().sum(dim=1).mean() / variance,
            "text": (read - code).square().sum(dim=1).mean() / variance,
        }
        optimiser.zero_grad()
        (losses["image"] + losses["text"]).backward()
        optimiser.step()
        means.add(losses)
        if (step + 1) % 50 == 0:
            print(f"layout {step + 1} of {steps}  {means}", flush=True)
    with torch.no_grad():
        clip.image_layout_projection.weight[:, -2 * width :] = LENGTH * of_images
        clip.text_layout_projection.weight[:, -width:] = LENGTH * of_texts


def _weigh_kinds(clip: Clip, tower: Tower) -> None:
    """Lets each kind's probability weigh as much as what else the tower says of a cell."""
    offset = tower.config.widths[-1]
    with torch.no_grad():
        clip.image_sides.weight[:, :offset] *= 0.1
        clip.image_sides.weight[:, offset:] *= 20.0
