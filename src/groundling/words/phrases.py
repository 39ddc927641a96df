"""Phrases of a text as character spans: which tokens they are, and which ones a caption has.

A span is [begin, end) in characters of the text as it was given. Everything between characters and tokens
goes by the tokenizer's offsets, never by searching the text for words: "man" is not in "woman", and the
second "dog" is not the first.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, SupportsIndex

import torch
from torch import Tensor

from groundling.words.text import Span, normalised

MODEL = "en_core_web_sm"  # spaCy's small English pipeline


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: its text, its span, and the span of its head, the noun that says what it is."""

    text: str
    span: Span
    head: Span


@dataclass(frozen=True)
class Splitter:
    """What finds the noun phrases of a caption, and its name for whoever reads the answer."""

    name: str
    split: Callable[[str], tuple[Phrase, ...]]


# --------------------------------------------------------------------------------------- spans and tokens


def check_spans(text: str, spans: Sequence[Span]) -> None:
    """ValueError for a span that does not lie in the text or holds no character that could be read."""
    for span in spans:
        if not isinstance(span, Sequence) or [isinstance(at, SupportsIndex) for at in span] != [True, True]:
            raise ValueError(f"a span must be (begin, end) in whole characters, given {span!r}")
        begin, end = span
        if not 0 <= begin < end <= len(text):
            raise ValueError(
                f"span ({begin}, {end}) must begin before it ends, within the {len(text)} characters of "
                f"{text[:60]!r}"
            )
        if not normalised(text[begin:end]).text:
            raise ValueError(f"span ({begin}, {end}) of {text[:60]!r} holds nothing but spaces")


def tokens_of(spans: Sequence[Span], offsets: Sequence[Span]) -> tuple[int, ...]:
    """Positions of the tokens that share a character with one of the spans.

    `offsets` are the tokens' own spans; those that the tokenizer adds have an empty one and are never meant.
    """
    return tuple(
        position
        for position, (first, last) in enumerate(offsets)
        if any(first < end and begin < last for begin, end in spans)
    )


def characters_of(positions: Sequence[int], offsets: Sequence[Span]) -> Span:
    """The span from the first to the last character of these tokens."""
    own = [offsets[position] for position in positions if offsets[position][0] < offsets[position][1]]
    if not own:
        raise ValueError(f"tokens {list(positions)} have no characters")
    return min(begin for begin, _ in own), max(end for _, end in own)


def positive_map(objects: Sequence[Sequence[Span]], offsets: Sequence[Span], columns: int = 256) -> Tensor:
    """Each object as a uniform distribution over the tokens of its spans, (objects, columns).

    The last column, "no object", stays 0. ValueError for spans without a token: outside what was read, or
    only spaces.
    """
    wanted = torch.zeros(len(objects), columns)
    for row, spans in enumerate(objects):
        positions = tokens_of(spans, offsets)
        if not positions or positions[-1] >= columns - 1:
            raise ValueError(
                f"object {row}: spans {list(spans)} are not among the {min(len(offsets), columns - 1)} "
                "tokens that the model tells apart"
            )
        wanted[row, list(positions)] = 1.0 / len(positions)
    return wanted


# ------------------------------------------------------------------------------------------ noun phrases


def splitter(kind: Literal["auto", "spacy", "rules"] = "auto") -> Splitter:
    """spaCy where it and its English model are installed, else the rules below; the name says which.

    ValueError for "spacy" where it is not there.
    """
    if kind not in ("auto", "spacy", "rules"):
        raise ValueError(f"split must be auto, spacy or rules, given {kind!r}")
    if kind != "rules" and (read := _spacy()) is not None:
        return Splitter(f"spacy/{MODEL}", read)
    if kind == "spacy":
        raise ValueError(
            f"spaCy or its model {MODEL} is not installed: pip install 'groundling[phrases]' and "
            f"python -m spacy download {MODEL}"
        )
    return Splitter("rules", by_rules)


@lru_cache(maxsize=1)
def _spacy() -> Callable[[str], tuple[Phrase, ...]] | None:
    try:
        import spacy

        pipeline = spacy.load(MODEL)
    except (ImportError, OSError):  # no spaCy; no model of it
        return None

    def split(text: str) -> tuple[Phrase, ...]:
        return tuple(
            Phrase(
                text[chunk.start_char : chunk.end_char],
                (chunk.start_char, chunk.end_char),
                (chunk.root.idx, chunk.root.idx + len(chunk.root)),
            )
            for chunk in pipeline(text).noun_chunks
            if chunk.root.pos_ != "PRON"  # "it" and "who" show nothing
        )

    return split


def by_rules(text: str) -> tuple[Phrase, ...]:
    """Noun phrases of an English caption without a tagger: closed word classes, and endings of verbs.

    Good enough for captions ("A man in a red shirt is riding a horse"), not for prose. Clothing with a noun
    is a phrase of its own, as in Flickr30k Entities; a colour alone ("the woman wearing orange") has nothing
    to be found by itself, and stays with the phrase before it.
    """
    words = _words(text)
    phrases: list[Phrase] = []
    phrase: list[_Word] = []
    reached = 0  # how far the phrase has come: the highest `_rank` of its words
    for index, word in enumerate(words):
        after = words[index + 1] if index + 1 < len(words) else None
        if _joins(word, phrase, after):
            continue
        if phrase and _ends(word, reached, after):
            _close(text, phrase, phrases)
            phrase, reached = [], 0
        if phrase or _begins(word, index == 0, after):
            phrase.append(word)
            reached = max(reached, _rank(word))
    _close(text, phrase, phrases)
    return tuple(_dressed(text, phrase, phrases) for phrase in phrases)


def _dressed(text: str, phrase: Phrase, phrases: Sequence[Phrase]) -> Phrase:
    """The phrase with the colours that follow it alone, as in "a woman in black"."""
    worn = _WORN.match(text, phrase.span[1])
    if worn is None or any(phrase.span[1] <= other.span[0] < worn.end() for other in phrases):
        return phrase
    span = phrase.span[0], worn.end()
    return Phrase(text[slice(*span)], span, phrase.head)


@dataclass(frozen=True)
class _Word:
    """A lower-cased word, its span, and whether a sign stands between it and the word before."""

    text: str
    span: Span
    sign_before: bool


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    place, sign = 0, False
    while place < len(text):
        end = place
        while end < len(text) and (text[end].isalnum() or (end > place and _inside(text, end))):
            end += 1
        if end > place:
            found.append(_Word(text[place:end].lower().replace("’", "'"), (place, end), sign))
            sign = False
        else:
            sign = sign or not text[place].isspace()
            end = place + 1
        place = end
    return found


def _inside(text: str, place: int) -> bool:
    """A hyphen or apostrophe between letters: "t-shirt", "daughter's"."""
    return text[place] in "-'’" and place + 1 < len(text) and text[place + 1].isalnum()


def _joins(word: _Word, phrase: list[_Word], after: _Word | None) -> bool:
    """An "and" (or comma) between adjectives holds a phrase together: "a black and white dog"."""
    return (
        word.text in ("and", "or")
        and bool(phrase)
        and after is not None
        and phrase[-1].text in _ADJECTIVES
        and after.text in _ADJECTIVES
    )


def _rank(word: _Word) -> int:
    """0 for a determiner, 1 for an adjective, 2 for what may be a noun."""
    return 0 if word.text in _DETERMINERS else 1 if word.text in _ADJECTIVES else 2


def _ends(word: _Word, reached: int, after: _Word | None) -> bool:
    """Whether a phrase that has come so far was over before this word."""
    if _closed(word, after) or word.text in _DETERMINERS:
        return not (word.text in _NUMBERS and reached == 0)
    if reached < 2:
        return False  # its noun is still to come: "a big, red ball", "a sleeping cat"
    return word.sign_before or _is_verb(word, after, True)


def _begins(word: _Word, first: bool, after: _Word | None) -> bool:
    """Whether a phrase may begin with this word; only a caption's first can be an "-ing" before its noun."""
    if _closed(word, after):
        return False
    if word.text in _QUANTITIES and after is not None and after.text == "of":
        return False  # "on top of a table", "lots of people"
    return not _is_verb(word, after, not (first and _is_noun(after)))


def _closed(word: _Word, after: _Word | None) -> bool:
    """Whether this is in no phrase: "of", and "left" before it."""
    of = after is not None and after.text == "of"
    return word.text in _NEVER or (of and word.text in ("left", "right"))


def _is_verb(word: _Word, after: _Word | None, ing: bool) -> bool:
    """Whether this says what the noun before it does; "parked" before a noun says which cars."""
    text = word.text
    if text in _NOUNS_LIKE_VERBS or len(text) < 4:
        return text in _VERBS
    past = text.endswith("ed") or text in _PAST
    return text in _VERBS or (ing and text.endswith("ing")) or (past and not _is_noun(after))


def _is_noun(word: _Word | None) -> bool:
    """Whether this goes on from the word before it, and may be its noun."""
    return word is not None and not word.sign_before and word.text not in _NO_NOUNS


def _close(text: str, phrase: list[_Word], phrases: list[Phrase]) -> None:
    """Keep what is left of a phrase if it has a noun, or an adjective that stands for one ("the red")."""
    while phrase and phrase[-1].text in _LOOSE:
        phrase.pop()
    texts = {word.text for word in phrase}
    if texts <= _DETERMINERS or texts <= _ADJECTIVES:
        return
    begin, end = phrase[0].span[0], phrase[-1].span[1]
    phrases.append(Phrase(text[begin:end], (begin, end), phrase[-1].span))


def _these(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBERS = _these("one two three four five six seven eight nine ten eleven twelve dozen 1 2 3 4 5 6 7 8 9 10")
_DETERMINERS = _NUMBERS | _these(
    "a an the this that these those some several many few any each every both all no another "
    "his her their its my your our"
)
# Words that are in no phrase: prepositions, conjunctions, pronouns, auxiliaries, adverbs.
_NEVER = _these(
    "aboard about above across after against along alongside amid amidst among around as at atop away before "
    "behind below beneath beside besides between beyond by down during for from in inside into near next of "
    "off on onto opposite out outside over past per through throughout to together toward towards under "
    "underneath until up upon via while with within without and or but nor so yet if because than then when "
    "where whose who whom which what how why there here he she it they them him we us i you me himself "
    "herself itself themselves someone something is are was were be been being am has have had having do "
    "does did can could will would may might must should not isn't aren't it's there's he's she's they're "
    "very quite just also only too still almost well ready able currently apart close closely seems "
    "appears like"
)
_NO_NOUNS = _NEVER | _DETERMINERS
_ADJECTIVES = _these(
    "black white red green blue yellow orange brown pink purple gray grey silver gold golden tan beige blond "
    "blonde teal maroon navy dark light bright colorful colourful multicolored plaid striped big small large "
    "little tiny huge giant long short tall wide narrow old young older younger elderly new modern vintage "
    "wooden metal plastic stone brick wet dry dirty clean empty full open closed hot cold fresh beautiful "
    "pretty nice cute happy sad busy quiet crowded other different same various male female asian african "
    "american grassy snowy sandy rocky sunny cloudy lush tropical heavy thick thin round square flat "
    "shirtless bald upper lower topmost front rear double single whole half"
)
_QUANTITIES = _these("top front lots plenty")
# What may trail behind a noun without being one.
_LOOSE = _these("alone away daily full high indoors low outdoors sideways somewhat upside upward")
_NOUNS_LIKE_VERBS = _these(
    "building buildings ceiling clothing evening morning king ring string wing thing things railing painting "
    "wedding parking swing spring sibling offspring earring icing frosting topping toppings stuffing awning "
    "dressing sled bed shed weed seed breed speed moped red feed steed bread bleed dining living swimming "
    "surfing skiing skating scaffolding fencing lettering gathering opening"
)
_PAST = _these("worn held seen made driven flown ridden eaten shown taken lit laid hung kept")
_VERBS = _these(
    "sit sits sat stand stands stood hold holds held wear wears wore ride rides rode walk walks run runs ran "
    "play plays eat eats ate look looked lie lies lay lays jump jumps fly flies flew swim swims "
    "ski skis skate skates surf surfs throw throws threw catch catches hit hits swings kick kicks "
    "drive drives drove parks pull pulls push pushes carry carries talk talks speak speaks "
    "smile smiles pose poses wait waits cross crosses cooks prepare prepares feeds make "
    "makes take takes took get gets got give gives gave go goes went come comes came watch watches read "
    "use uses try tries climb climbs perform performs perch perches perched gather gathers "
    "rest rests sleep sleeps lean leans reach reaches fill fills covers contain contains "
    "feature features include includes show shows hang hangs grow grows mingle mingles stare stares "
    "travel travels move moves turns stop stops bite bites chase chases touch touches "
    "enjoy enjoys graze grazes share shares laugh laughs dance dances sing sings blow blows point points "
    "begins begin start starts keep keeps let lets put puts set sets see sees fall falls"
)
_COLOUR = "(?:black|white|red|green|blue|yellow|orange|brown|pink|purple|gr[ae]y|beige|tan|navy)"
_WORN = re.compile(
    rf"\s+(?:wearing|(?:(?:all )?dressed )?in)\s+(?:all )?{_COLOUR}(?:\s+and\s+{_COLOUR})?\b(?!-)", re.I
)
