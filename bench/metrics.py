"""Time of each caption metric beside pycocoevalcap's scorer, on the same tokens in one run.

    PYTHONPATH=gpu-workers python bench/metrics.py --images 1000 [--java]

Both sides must agree, or nothing is printed. Times are CPU seconds of this process, which other
work on the machine hardly moves; only the tokeniser's are wall seconds, because its peer is a Java
program. That program's start counts, because it starts for every evaluation.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from dico.metrics.bleu import bleu
from dico.metrics.cider import DocumentFrequencies, cider_d
from dico.metrics.rouge import rouge_l
from dico.metrics.tokenise import tokenise
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from scenes.grammar import human_captions
from scenes.sampler import sample_scene

_Result = TypeVar("_Result")


def fastest(
    function: Callable[[], _Result], runs: int = 3, clock: Callable[[], float] = time.process_time
) -> tuple[float, _Result]:
    """Best of several runs, in seconds of the clock, and the result."""
    times: list[float] = []
    while True:
        started = clock()
        result = function()
        times.append(clock() - started)
        if len(times) == runs:
            return min(times), result


def main() -> None:
    """Prints milliseconds per 1,000 captions, 5 human captions each, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--java", action="store_true", help="also COCO's tokeniser; needs Java")
    options = parser.parse_args()
    count = options.images
    human_texts = [human_captions(sample_scene(600_000 + number)) for number in range(count)]
    # The neighbour's captions: near enough to match, wrong often enough.
    said_texts = [human_captions(sample_scene(600_001 + number))[0] for number in range(count)]
    lines = [*said_texts, *(caption for own in human_texts for caption in own)]
    said = [tokenise(text) for text in said_texts]
    human = [[tokenise(text) for text in own] for own in human_texts]
    theirs = {row: [" ".join(tokens) for tokens in own] for row, own in enumerate(human)}
    ours = {row: [" ".join(tokens)] for row, tokens in enumerate(said)}

    rows: list[tuple[str, float, float]] = []
    mine, figures = fastest(lambda: bleu(said, human))
    other, expected = fastest(lambda: Bleu(4).compute_score(theirs, ours, verbose=0)[0])
    np.testing.assert_allclose(figures, expected, atol=1e-9)
    rows.append(("BLEU-1 to 4", mine, other))
    mine, figures = fastest(lambda: rouge_l(said, human))
    other, expected = fastest(lambda: Rouge().compute_score(theirs, ours)[1])
    np.testing.assert_allclose(figures, expected, atol=1e-9)
    rows.append(("ROUGE-L", mine, other))
    mine, figures = fastest(lambda: cider_d(said, human))
    other, expected = fastest(lambda: Cider().compute_score(theirs, ours)[1])
    np.testing.assert_allclose(figures, expected, atol=1e-9)
    rows.append(("CIDEr-D", mine, other))
    table = DocumentFrequencies.of(human)
    mine, figures = fastest(lambda: table.score(said, human))
    np.testing.assert_allclose(figures, expected, atol=1e-9)
    rows.append(("CIDEr-D as a reward, table made before", mine, other))
    if options.java:
        asked = {row: [{"caption": line}] for row, line in enumerate(lines)}
        wall = time.perf_counter
        mine, _ = fastest(lambda: [tokenise(line) for line in lines], clock=wall)
        other, found = fastest(lambda: PTBTokenizer().tokenize(asked), clock=wall)
        assert [" ".join(tokenise(line)) for line in lines] == [own[0] for own in found.values()]
        rows.append(("tokeniser (6 captions an image)", mine, other))

    print(f"{count} images, 5 human captions each, best of 3; load {os.getloadavg()[0]:.1f}\n")
    print("| ms per 1,000 captions | dico.metrics | pycocoevalcap | ratio |\n|---|---|---|---|")
    for name, mine, other in rows:
        per = 1000 * 1000 / count
        print(f"| {name} | {mine * per:.1f} | {other * per:.1f} | {other / mine:.1f} |")


if __name__ == "__main__":
    main()
