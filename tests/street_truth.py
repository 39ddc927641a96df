"""What captions and questions about a scene say, read from their words alone, and whether it is true.

As the plain reader of expressions (`street.reader`), which reads the noun phrases here, it shares no code
with what makes captions and questions: it goes by the text, the scene's description and, for the weather and
the ground, by the colours of the drawn background.
"""

from __future__ import annotations

import functools
import random
import re
from dataclasses import replace

import numpy as np

from groundling.data import street
from groundling.data.street.reader import RELATION_TESTS, RELATIONS, matching
from groundling.data.street.scenes import Scene, StreetObject

NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
SINGULAR = {
    "men": "man", "women": "woman", "gentlemen": "gentleman", "children": "child", "people": "person",
    "puppies": "puppy", "kitties": "kitty", "ladies": "lady", "lorries": "lorry", "buses": "bus",
    "benches": "bench", "mailboxes": "mailbox", "boxes": "box",
}  # fmt: skip
SAME = ("bus", "pants", "shorts", "trousers", "wings", "us")  # words in s that stay
COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "black", "white", "brown", "pink", "gray",
)  # fmt: skip
BODIES = ("body", "cab", "walls")
VERBS = {"stands": ("standing", "waving"), "stand": ("standing", "waving"), "sits": ("sitting",),
         "sit": ("sitting",), "flies": ("flying",), "fly": ("flying",)}  # fmt: skip
LIST = re.compile(
    r"((There is|There are|A picture of|A scene with) )?\{\d+\}(, \{\d+\})*( and \{\d+\})?( can be seen)?\."
)
RELATION = re.compile(r"\{(\d+)\} (\w+) ([a-z ]+) \{(\d+)\}\.")
DEED = re.compile(r"\{(\d+)\} is (?:facing (?:the )?)?(\w+)\.")
PLACED = re.compile(
    r"(.+?) ((?:to the |on the )?(?:left|right) of|in front of|behind|next to|beside|near|above|over"
    r"|on top of|on(?! (?:the )?(?:far )?(?:left|right)(?: side)?$)) (?:the )?(.+)"
)
KINDS = {
    "animal": ("dog", "cat", "bird"),
    "vehicle": ("car", "bus", "truck", "bicycle"),
    "person": ("man", "woman", "boy", "girl"),
}


@functools.cache
def scenes(count: int) -> tuple[Scene, ...]:
    """The first scenes of a seed."""
    return tuple(street.scene(17, index) for index in range(count))


def shaken(scene: Scene, rng: random.Random) -> Scene:
    """The scene with each box moved by up to 2.5 pixels."""
    moved = []
    for thing in scene.objects:
        dx, dy = rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5)
        x1, y1, x2, y2 = thing.box
        moved.append(replace(thing, box=(x1 + dx, y1 + dy, x2 + dx, y2 + dy)))
    return replace(scene, objects=tuple(moved))


def meant(scene: Scene, phrase: str) -> frozenset[int]:
    """All that a noun phrase means: "two men in red", "the car"; its number must be the right one."""
    first, *rest = phrase.split()
    words = rest if first.lower() in ("a", "an", "the", *NUMBERS) else [first, *rest]
    count = NUMBERS.get(first.lower(), 1)
    found = matching(scene, " ".join(map(singular, words) if count > 1 else words))
    assert len(found) == count, f"{phrase!r} means {len(found)} objects"
    return found


def singular(word: str) -> str:
    """One of the word, in a phrase that means several."""
    if word in SINGULAR or word in SAME or not word.endswith("s"):
        return SINGULAR.get(word, word)
    return word[:-1]


# ---- captions


def check_caption(scene: Scene, text: str, spans: list[tuple[int, int]]) -> None:
    """AssertionError for a caption of which a word is not true, or is not understood."""
    phrases = [text[begin:end] for begin, end in sorted(spans)]
    for number, (begin, end) in reversed(list(enumerate(sorted(spans)))):
        text = f"{text[:begin]}{{{number}}}{text[end:]}"
    for sentence in re.findall(r"[^.]+\.", text):
        _check_sentence(scene, sentence.strip(), phrases)


def _check_sentence(scene: Scene, sentence: str, phrases: list[str]) -> None:
    by_id = {thing.id: thing for thing in scene.objects}
    if LIST.fullmatch(sentence):
        numbers = [int(number) for number in re.findall(r"\{(\d+)\}", sentence)]
        objects = [number for phrase in numbers for number in meant(scene, phrases[phrase])]
        assert len(set(objects)) == len(objects), f"{sentence} names a thing twice"
        many = phrases[numbers[0]].split()[0].lower() in NUMBERS
        assert not sentence.startswith("There is " if many else "There are ")
    elif said := RELATION.fullmatch(sentence):
        subjects = [by_id[number] for number in meant(scene, phrases[int(said[1])])]
        (other,) = (by_id[number] for number in meant(scene, phrases[int(said[4])]))
        test = RELATION_TESTS[RELATIONS[said[3].replace("the ", "")]]
        assert all(thing != other and test(thing, other, scene.size) for thing in subjects), sentence
        assert all(said[2] in ("is", "are") or thing.pose in VERBS[said[2]] for thing in subjects), sentence
        assert (said[2] in ("are", "stand", "sit", "fly")) == (len(subjects) > 1)
    else:
        said = DEED.fullmatch(sentence)
        assert said, f"not understood: {sentence}"
        (thing,) = (by_id[number] for number in meant(scene, phrases[int(said[1])]))
        wanted = thing.facing if "facing" in sentence else thing.colour if said[2] in COLOURS else thing.pose
        assert said[2] == wanted, sentence


# ---- questions


def answer(scene: Scene, question: str) -> str:
    """The short answer."""
    text = question.removesuffix("?")
    for read in (_overall, _joined, _kind, _is_there, _what, _which_value):
        found = read(scene, text)
        if found is not None:
            return found
    raise AssertionError(f"not understood: {question}")


def _yes(true: bool) -> str:
    return "yes" if true else "no"


@functools.cache
def background(seed: int, index: int) -> tuple[str, str]:
    """Weather and ground by the colours of the picture without its objects: blue, gray or warm; and so on."""
    empty = replace(street.scene(seed, index), objects=())
    pixels = np.asarray(street.render(empty)).astype(float)
    red, _, blue = np.median(pixels[:20], axis=(0, 1))
    weather = "sunny" if blue > red + 30 else "cloudy" if blue > red else "hazy"
    red, green, blue = np.median(pixels[empty.size // 2 :], axis=1).T  # of each row; a road across is gray
    ground = (
        "grass"
        if (green > red + 10).mean() > 0.2
        else "sand"
        if (red > blue + 25).mean() > 0.2
        else "pavement"
    )
    return weather, ground


def _overall(scene: Scene, text: str) -> str | None:
    weather, ground = background(scene.seed, scene.index)
    words = set(text.split())
    for value, known in ((weather, {"sunny", "cloudy", "hazy"}), (ground, {"grass", "sand", "pavement"})):
        said = words & known
        if said:
            assert len(said) == 1 + ("or" in words)
            return value if "or" in words and value in said else _yes(said == {value})
    if "weather" in words:
        return weather
    return ground if "ground" in words else None


def _joined(scene: Scene, text: str) -> str | None:
    said = re.fullmatch(r"(?:Is there|Do you see) (either|both) (.+) (?:or|and) (an? .+)", text)
    if not said:
        return None
    there = [bool(matching(scene, said[2])), bool(matching(scene, said[3]))]
    return _yes(any(there) if said[1] == "either" else all(there))


def _kind(scene: Scene, text: str) -> str | None:
    """Who, what kind of animal, or which of two."""
    choice = re.fullmatch(r"Is the (animal|vehicle|person|thing) (.+) an? (\w+) or an? (\w+)", text)
    query = re.fullmatch(r"(?:What kind of|Which) (animal|vehicle) is (.+)", text)
    loose = re.fullmatch(r"(Who|What) is ((?!the ).+)", text)
    said = choice or query or loose
    if not said:
        return None
    kind = {"Who": "person", "What": "thing"}.get(said[1], said[1])
    (thing,) = _of_kind(scene, kind, said[2].removesuffix("in the picture").strip())
    assert kind == "thing" or thing.category in KINDS[kind]
    assert not choice or thing.category in (said[3], said[4])
    return thing.category


def _of_kind(scene: Scene, kind: str, condition: str) -> list[StreetObject]:
    by_id = {thing.id: thing for thing in scene.objects}
    if kind != "thing":
        return [by_id[number] for number in matching(scene, f"{kind} {condition}")]
    said = PLACED.fullmatch(f"{kind} {condition}")
    assert said, condition
    (other,) = (by_id[number] for number in matching(scene, said[3]))
    test = RELATION_TESTS[RELATIONS[said[2].replace("the ", "")]]
    found = [thing for thing in scene.objects if thing != other and test(thing, other, scene.size)]
    assert not any(thing.category in KINDS["person"] for thing in found), "who, not what"
    return found


def _is_there(scene: Scene, text: str) -> str | None:
    said = re.fullmatch(r"(?:Is there|Do you see|Does the picture show) (an? .+?)(?: in the picture)?", text)
    return _yes(bool(loosely(scene, said[1]))) if said else None


def loosely(scene: Scene, words: str) -> frozenset[int]:
    """All that the words are true of, however many; they may be in a relation to one other thing."""
    said = PLACED.fullmatch(words)
    if not said:
        return matching(scene, words)
    (other,) = matching(scene, said[3])
    by_id = {thing.id: thing for thing in scene.objects}
    test = RELATION_TESTS[RELATIONS[said[2].replace("the ", "")]]
    group = matching(scene, said[1]) - {other}
    return frozenset(number for number in group if test(by_id[number], by_id[other], scene.size))


def _one(scene: Scene, words: str) -> StreetObject:
    (number,) = matching(scene, words)
    return next(thing for thing in scene.objects if thing.id == number)


def _colour(thing: StreetObject, part: str) -> str | None:
    return thing.colour if part in ("shirt", *BODIES) else dict(thing.parts).get(part)


def _what(scene: Scene, text: str) -> str | None:
    if said := re.fullmatch(r"What color (?:is|are) the (\w+) of the (.+)", text):
        return _colour(_one(scene, said[2]), said[1])
    if said := re.fullmatch(r"What color is the (.+)", text):
        return _one(scene, said[1]).colour
    if said := re.fullmatch(r"What is the (.+) doing", text):
        return _one(scene, said[1]).pose
    said = re.fullmatch(r"Which side is the (.+) facing", text)
    return _one(scene, said[1]).facing if said else None


def _which_value(scene: Scene, text: str) -> str | None:
    if said := re.fullmatch(r"(?:Is|Are) the (?:(\w+) of the )?(.+) (\w+) or (\w+)", text):
        thing = _one(scene, said[2].removesuffix(" facing") if said[3] in ("left", "right") else said[2])
        true = [value for value in (said[3], said[4]) if _has(thing, said[1], value)]
        assert len(true) == 1, text
        return true[0]
    return _both(scene, text) or _verified(scene, text)


def _both(scene: Scene, text: str) -> str | None:
    """ "Is the man wearing a red shirt and waving": where the name ends is found by trying."""
    said = re.fullmatch(r"Is the (.+) and (.+)", text)
    if not said:
        return None
    words = said[1].split()
    ends = [n for n in range(1, len(words)) if _predicate(" ".join(words[n:]))]
    thing = _one(scene, " ".join(words[: ends[0 if len(ends) == 1 else -1]]))
    checks = (" ".join(words[ends[-1] :]), said[2])
    return _yes(all(_true(thing, check) for check in checks))


def _predicate(words: str) -> bool:
    return bool(
        words in (*COLOURS, "sitting", "standing", "flying", "waving", "facing left", "facing right")
        or re.fullmatch(r"(wearing|holding) (an? )?(" + "|".join(COLOURS) + r") \w+", words)
    )


def _true(thing: StreetObject, words: str) -> bool:
    if words.startswith(("wearing", "holding")):
        colour, part = words.split()[-2:]
        return _colour(thing, part) == colour
    return _has(thing, None, words.removeprefix("facing "))


def _verified(scene: Scene, text: str) -> str | None:
    said = re.fullmatch(r"(?:Is|Are) the (?:(\w+) of the )?(.+) (\w+)", text)
    if not said:
        return None
    thing = _one(scene, said[2].removesuffix(" facing") if said[3] in ("left", "right") else said[2])
    return _yes(_has(thing, said[1], said[3]))


def _has(thing: StreetObject, part: str | None, value: str) -> bool:
    if part is not None:
        return _colour(thing, part) == value
    return value in (
        thing.colour if thing.category not in KINDS["person"] else None,
        thing.pose,
        thing.facing,
    )
