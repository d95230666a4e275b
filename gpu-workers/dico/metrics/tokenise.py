"""COCO's tokeniser without Java: captions to lower-case Penn Treebank tokens.

COCO's captioning tools (arXiv:1504.00325, section 3) lex with the PTBTokenizer of Stanford CoreNLP
3.4.1 and drop punctuation. This lexer was written from that program's observable behaviour. Two
habits of the original matter for the numbers and are kept:

- Brackets survive. The original lower-cases `(` to `-lrb-`, but drops only `-LRB-`.
- British spelling survives. CoreNLP can americanise it; the command that COCO runs does not.
"""

from __future__ import annotations

import re

# Quotes, full stops, commas, dashes. Runs such as "?!" and "!!" are other tokens, and stay.
_DROPPED = re.compile(r"''|``|[\"'`?!,:;]|\.+|-+")

# Characters that stand for others. Quotes may stay undirected, because all of them are dropped.
_REPLACED = str.maketrans(
    {
        "\u00ad": None,  # soft hyphen
        "\u200b": " ",
        "\u2012": " ",
        "“": '"',
        "”": '"',
        "«": '"',
        "»": '"',
        "‹": " ` ",
        "›": " ` ",
        "‘": " ` ",
        "’": "'",
        "–": " -- ",
        "—": " -- ",
        "…": " ... ",
        "½": " 1/2 ",
        "¼": " 1/4 ",
        "¾": " 3/4 ",
        "¢": " cents ",
        "£": " # ",
        "€": " $ ",
    }
)
_ENTITY = re.compile("&(amp|lt|gt|quot|apos|nbsp);", re.IGNORECASE)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " "}
_BRACKETS = {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
}
_BRACKET = re.compile(r"[()\[\]{}]")

# A full stop after one of these belongs to the word; titles, months, days, states, firms.
_ABBREVIATIONS = "|".join(
    (
        "adj adm adv ala alex apr ariz assn assoc asst aug ave bhd bldg blvd brig bros calif capt "
        "cf cie cmdr co col colo comdr conn corp cpl ct dak dec dept dr drs ens esq est etc ext "
        "feb fla fri ft gen gov hon inc ind intl invt jan jos jr jul jun kan kans ky lieut lt ltd "
        "maj mar messrs mfg mich minn mme mo mon mont mr mrs ms msgr mt natl neb nev nov oct okla "
        "penn pfc ph.d ph plc pres prof pvt rd rep reps rev rt sen sens sep sept seq sgt sq sr st "
        "ste supt tel tenn thu thurs treas tue tues univ va vs vt wed wis wisc wm wyo"
    ).split()
)
# After a single letter, such a word with its capital begins a sentence, so the full stop ends one.
_STARTERS = "|".join(
    (
        "The A An It He She They In There This Then We You Her That These At One Some Many But If "
        "When While What As Their Our Other Here After So Yet"
    ).split()
)
_BEFORE_NUMBER = "art|ca|figs?|nos?|op|pp|prop"

# Captions of nothing but letters and commas, unless they have a word that is split.
_PLAIN = re.compile("(?!.*\\b(?:cannot|gonna|wanna|gotta|lemme|gimme)\\b)[a-z ,]*")

_LETTER = r"(?:[^\W\d_]|[\u0300-\u036f])"
_ALNUM = r"(?:[^\W_]|[\u0300-\u036f])"
_NUMBER = r"\d*(?:[.,:]\d+)+|\d+"
_INITIALS = rf"(?<!{_LETTER}){_LETTER}(?:\.{_LETTER})+\.?(?!{_ALNUM})"
_PART = rf"(?:{_INITIALS}|\d+(?:[.,]\d+)+(?=-)|{_ALNUM}+)"

# The original takes the longest of all matches; here the order of the alternatives does that.
_TOKEN = re.compile(
    "|".join(
        (
            # Most words are plain; finding them first is several times faster.
            r"(?!(?:cannot|gonna|wanna|gotta|lemme|gimme)\b)[a-z]+(?=[ ,;]|$)",
            r"https?://[^\s\"<>]*[^\s\"<>.,;:!?')\]]|www\.[^\s\"<>]*[^\s\"<>.,;:!?')\]]",
            rf"{_ALNUM}[\w.+-]*@[a-z0-9][\w-]*(?:\.[a-z]\w*)*",
            rf"@{_LETTER}\w*|#[a-z]+",
            r"</?[a-z][^<>\n]*>|<!--|<<+|>>+|__+|\^_\^|>_<",
            rf"[:;=]-?'?(?:[()dp]|(?-i:O))(?!{_ALNUM})",
            # Words with an apostrophe of their own.
            rf"'n'|(?:o'clock|ma'am|c'mon|[oe]'er|ne'er|hawai'i|xi'an|somethin'|ol'"
            rf"|'(?:em|til|cause|n))(?!{_ALNUM})",
            rf"(?<!{_ALNUM})(?:[dol]|(?-i:[A-Z]))'(?!ll\b|re\b|ve\b){_LETTER}{{2,}}",
            rf"(?<!{_ALNUM})[yj]'(?={_LETTER})",
            rf"'t(?=is\b|was\b)|(?<!{_ALNUM})'\d\ds?(?!{_ALNUM})",
            # Words in two halves: contractions, and slang that the Treebank splits.
            rf"(?<!{_ALNUM})(?:can(?=not\b)|gon(?=na\b)|wan(?=na\b)|got(?=ta\b)|lem(?=me\b)"
            rf"|gim(?=me\b)|more(?='n\b))",
            rf"n't(?!{_ALNUM})|{_LETTER}+?(?=n't(?!{_ALNUM}))",
            rf"'(?:s|m|d|ll|re|ve)(?!{_ALNUM})",
            # Words joined by a slash or by hyphens.
            rf"{_ALNUM}+(?:/{_ALNUM}+(?:-{_ALNUM}+)*)+|{_ALNUM}+(?:-{_LETTER}{_ALNUM}*)+"
            rf"(?:/{_LETTER}+(?:-{_LETTER}+)*)+",
            rf"{_PART}(?:[-_\u2011]{_PART})+",
            # Abbreviations and initials, with their full stop.
            rf"(?<!{_ALNUM})(?:{_ABBREVIATIONS})\.(?!{_ALNUM})",
            rf"(?<!{_ALNUM})(?:{_BEFORE_NUMBER})\.(?=\s*\d)",
            rf"{_INITIALS}(?!-{_ALNUM})",
            rf"(?<!{_ALNUM}){_LETTER}\.(?!{_LETTER}|\s+(?-i:{_STARTERS})\b)",
            r"(?<!\w)(?-i:[A-Z]+&[A-Z]+)|&\#\d+;|c\+\+|c\#|(?<!\w)(?:us|hk|[ac])\$",
            # Numbers, dates and fractions; then words, joined by a full stop where no space is.
            r"\(\d{2,3}\)(?= ?\d{3}-)",
            rf"\d{{1,2}}/\d{{1,2}}-{_LETTER}+|\d{{1,2}}(?:/\d{{1,2}}){{1,2}}\d{{0,2}}(?!{_ALNUM})"
            rf"|\d{{1,3}}/\d{{1,4}}(?!{_ALNUM})",
            rf"{_LETTER}{_ALNUM}*(?:[.!?]{_LETTER}{_ALNUM}*)+",
            rf"(?<!{_ALNUM})[-+](?:{_NUMBER})(?!{_ALNUM})",
            r"\d*(?:[.,:]\d+)+",
            rf"{_ALNUM}+",
            # What is left, most of which is dropped; pictographs vanish in the original too.
            r"[?!]+|\.\.\.+|--+|``|''|-[lr][rsc]b-|[^\s\w\U00010000-\U0010ffff]|_",
        )
    ),
    re.IGNORECASE,
)


def tokenise(caption: str) -> list[str]:
    """The caption's tokens as COCO's tools count them; punctuation is gone.

    Exact on captions as people write them (the fixtures under `tests/fixtures/metrics` compare);
    markup and telephone numbers may come out differently.
    """
    lower = caption.lower()
    if _PLAIN.fullmatch(lower):
        return lower.replace(",", " ").split()
    text = _ENTITY.sub(lambda match: _ENTITIES[match[1].lower()], caption).translate(_REPLACED)
    tokens = (
        _BRACKET.sub(lambda match: _BRACKETS[match[0]], token.lower())
        for token in _TOKEN.findall(text)
    )
    return [part for token in tokens for part in token.split() if not _DROPPED.fullmatch(part)]
