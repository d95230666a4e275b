"""Tokens are those of COCO's Java tokeniser, whose answers lie in tests/fixtures/metrics."""

import json
from pathlib import Path

import pytest
from dico.metrics.tokenise import tokenise

FIXTURES = Path(__file__).parents[2] / "fixtures/metrics"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())


def test_every_caption_of_the_fixture_has_cocos_tokens() -> None:
    annotations = json.loads((FIXTURES / "annotations.json").read_text())["annotations"]
    captions = [each["caption"] for each in annotations]
    captions += [each["caption"] for each in json.loads((FIXTURES / "results.json").read_text())]
    tokens = [text for own in EXPECTED["human_tokens"] for text in own] + EXPECTED["result_tokens"]
    assert len(captions) == 360
    for caption, expected in zip(captions, tokens, strict=True):
        assert " ".join(tokenise(caption)) == expected, caption


# Each answer is what `PTBTokenizer -preserveLines -lowerCase` printed, less COCO's punctuation.
@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog's bone isn't here; it's \"gone\".", "a dog 's bone is n't here it 's gone"),
        ("I can't, won't and cannot do that", "i ca n't wo n't and can not do that"),
        ("gonna wanna gotta lemme gimme", "gon na wan na got ta lem me gim me"),
        ("'tis a dog, 'twas a cat", "'t is a dog 't was a cat"),
        ("James' car and James's car", "james car and james 's car"),
        ("It costs $3.50 or £2, 50% off", "it costs $ 3.50 or # 2 50 % off"),
        ("at 10:30am and 10:30 a.m.", "at 10:30 am and 10:30 a.m."),
        (
            "a black-and-white 20-year-old dog--running - fast",
            "a black-and-white 20-year-old dog running fast",
        ),
        ("wait... what?! no!!! ok?", "wait what ?! no !!! ok"),
        ("and/or 1/2 24/7 w/ w/o", "and/or 1/2 24/7 w / w/o"),
        (
            "(parens) [brackets] {braces}",
            "-lrb- parens -rrb- -lsb- brackets -rsb- -lcb- braces -rcb-",
        ),
        (
            "Mr. Smith of the U.S. lives on St. John Ave. now.",
            "mr. smith of the u.s. lives on st. john ave. now",
        ),
        ("no. way, but No. 5 and no. 7", "no way but no. 5 and no. 7"),
        ("AT&T R&B rock & roll &amp; black&white", "at&t r&b rock & roll & black & white"),
        ("“curly” ‘single’ don’t it’s", "curly single do n't it 's"),
        ("#1 fan of #hashtag @user", "# 1 fan of #hashtag @user"),
        ("the '90s and 1990's and 90s", "the '90s and 1990 's and 90s"),
        ("5'10\" tall, 6' wide", "5 10 tall 6 wide"),
        ("man,woman 1,2 1,200 a.b hello.World", "man woman 1,2 1,200 a.b hello.world"),
        ("it's o'clock, ma'am, rock'n'roll y'all", "it 's o'clock ma'am rock 'n' roll y' all"),
        ("½ cup at 30°", "1/2 cup at 30 °"),
        ("naïve café 日本 🐶", "naïve café 日本"),
        ("A wait – a long — wait…", "a wait a long wait"),
        ("", ""),
        (" . ", ""),
    ],
)
def test_tokens_are_those_of_the_java_program(caption: str, expected: str) -> None:
    assert " ".join(tokenise(caption)) == expected


def test_british_spelling_stays_because_cocos_command_leaves_it() -> None:
    text = "a grey theatre with colourful programmes for travelling jewellery organisers"
    assert tokenise(text) == text.split()


@pytest.mark.parametrize(
    "unit", ["a", "a.", "'", "-", "a-", "a/", "1,", "<", "n't", "(", "@a", "."]
)
def test_long_hostile_text_comes_back(unit: str) -> None:
    """A pattern that backtracked exponentially would never come back from these."""
    assert all(tokenise(unit * 1000))
