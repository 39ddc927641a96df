"""Captions of a scene: sentences that are true of it, each noun phrase with all objects that it means."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from groundling.data.street.meaning import Coloured, Named, Program, Related, answer
from groundling.data.street.phrases import (
    NUMBERS,
    RELATION_WORDS,
    a_or_an,
    about,
    definite,
    meant,
    one,
    several,
    spoken,
)
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.words import COLOURS, NOUNS, PEOPLE

LISTS = ("There {is} {list}.", "A picture of {list}.", "{list} can be seen.", "A scene with {list}.")
TRIES = 8  # for each caption
MOST = 7  # things of a list: more would be more words than a small model reads


@dataclass(frozen=True)
class StreetPhrase:
    """A noun phrase: where it stands in the caption, once or more, and the ids of all that it means."""

    spans: tuple[tuple[int, int], ...]  # characters, half open
    objects: frozenset[int]


@dataclass(frozen=True)
class StreetCaption:
    """One or two sentences, and their phrases in the order of the text; no two phrases share a character."""

    text: str
    phrases: tuple[StreetPhrase, ...]


@dataclass(frozen=True)
class _Noun:
    """A phrase that is not yet part of a sentence."""

    words: str
    objects: frozenset[int]
    program: Program

    @property
    def many(self) -> bool:
        return len(self.objects) > 1


_Sentence = list[str | _Noun]  # what is said, in order


def captions(scene: Scene, count: int = 5) -> tuple[StreetCaption, ...]:
    """Up to `count` captions in different words."""
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    rng = random.Random(f"captions:{scene.seed}:{scene.index}")
    found: dict[str, StreetCaption] = {}
    for _ in range(count * TRIES):
        if len(found) == count:
            break
        new = _caption(scene, rng)
        if new is not None:
            found.setdefault(new.text, new)
    return tuple(found.values())


def lists(scene: Scene, count: int = 3) -> tuple[StreetCaption, ...]:
    """Up to `count` captions that list everything that one description tells from the rest.

    Things of a kind stand in one caption, each with what tells it from the others.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    rng = random.Random(f"lists:{scene.seed}:{scene.index}")
    found: dict[str, StreetCaption] = {}
    for _ in range(count):
        things = rng.sample(scene.objects, len(scene.objects))
        nouns = [noun for thing in things if (noun := _single(scene, thing, rng))][:MOST]
        if nouns:
            new = _written([_series(nouns, rng)])
            found.setdefault(new.text, new)
    return tuple(found.values())


def names(scene: Scene, count: int = 2) -> tuple[StreetCaption, ...]:
    """Up to `count` captions as `detect` asks with: "woman. red car. bus." of what is there and what is not.

    A phrase is of all that its name means, and no two share an object; a name of nothing is no phrase.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    rng = random.Random(f"names:{scene.seed}:{scene.index}")
    found: dict[str, StreetCaption] = {}
    for _ in range(count):
        things = rng.sample(scene.objects, rng.randint(1, min(MOST, len(scene.objects))))
        programs = [_named(rng, thing) for thing in things] + [_named(rng) for _ in range(rng.randint(0, 3))]
        new = _in_a_row(scene, rng.sample(programs, len(programs)), rng)
        if new.phrases:
            found.setdefault(new.text, new)
    return tuple(found.values())


def _named(rng: random.Random, thing: StreetObject | None = None) -> Program:
    """A name, sometimes with a colour, of this thing; or of any."""
    named = Named(rng.choice([noun for noun in NOUNS if not thing or thing.category in NOUNS[noun].names]))
    if rng.random() < 0.6 or not NOUNS[named.noun].denotes.isdisjoint(PEOPLE):
        return named
    return Coloured(named, thing.colour if thing else rng.choice(tuple(COLOURS)))


def _in_a_row(scene: Scene, programs: Sequence[Program], rng: random.Random) -> StreetCaption:
    """The names of what each program means beyond doubt; a thing has the first name that means it."""
    text, phrases, used = "", list[StreetPhrase](), frozenset[int]()
    for program in programs:
        said, words = answer(scene, program), spoken(program, rng)
        if said.sure != said.maybe or said.sure & used or f"{words}." in text:
            continue
        start = len(text) + bool(text)
        text += f"{' ' * bool(text)}{words}."
        if said.sure:
            phrases.append(StreetPhrase(((start, start + len(words)),), said.sure))
            used |= said.sure
    return StreetCaption(text, tuple(phrases))


def _caption(scene: Scene, rng: random.Random) -> StreetCaption | None:
    make = rng.choice((_listed, _related, _related, _related, _doing))
    first = make(scene, rng)
    if first is None:
        return None
    second = _more(scene, rng, first) if rng.random() < 0.5 else None
    return _written([first, *([second] if second else [])])


def _written(sentences: list[_Sentence]) -> StreetCaption:
    """The text of the sentences; what is meant twice is one phrase with two spans."""
    text = ""
    spans: dict[frozenset[int], list[tuple[int, int]]] = {}
    for sentence in sentences:
        start = len(text) + bool(text)
        text += " " * bool(text)
        for piece in sentence:
            if isinstance(piece, _Noun):
                spans.setdefault(piece.objects, []).append((len(text), len(text) + len(piece.words)))
                text += piece.words
            else:
                text += piece
        text = text[:start] + text[start].upper() + text[start + 1 :]
    return StreetCaption(text, tuple(StreetPhrase(tuple(places), ids) for ids, places in spans.items()))


def _single(
    scene: Scene, thing: StreetObject, rng: random.Random, avoid: tuple[str, ...] = ()
) -> _Noun | None:
    program = one(scene, thing, rng, avoid)
    if program is None:
        return None
    words = spoken(program, rng)
    the = definite(program) or rng.random() < 0.25
    return _Noun(f"the {words}" if the else a_or_an(words), frozenset({thing.id}), program)


def _plural(scene: Scene, rng: random.Random) -> _Noun | None:
    group = several(scene, rng)
    if group is None:
        return None
    program, ids = group
    return _Noun(f"{NUMBERS[len(ids)]} {spoken(program, rng, many=True)}", ids, program)


def _nouns(scene: Scene, rng: random.Random, count: int) -> Iterator[_Noun]:
    """Up to `count` phrases that share no object: a group first, where there is one, then single things."""
    group = _plural(scene, rng) if rng.random() < 0.7 else None
    used: frozenset[int] = group.objects if group else frozenset()
    if group:
        yield group
    for thing in rng.sample(scene.objects, len(scene.objects)):
        noun = _single(scene, thing, rng) if thing.id not in used else None
        if noun and count > bool(group):
            count -= 1
            yield noun


def _listed(scene: Scene, rng: random.Random) -> _Sentence | None:
    nouns = list(_nouns(scene, rng, rng.choice((2, 2, 3))))
    if not nouns:
        return None
    rng.shuffle(nouns)
    return _series(nouns, rng)


def _series(nouns: Sequence[_Noun], rng: random.Random) -> _Sentence:
    """One sentence of all of them."""
    pieces: _Sentence = []
    for place, noun in enumerate(nouns):
        pieces += [" and " if place == len(nouns) - 1 else ", "] * bool(place) + [noun]
    before, _, after = rng.choice(LISTS).partition("{list}")
    return [before.replace("{is}", "are" if nouns[0].many else "is"), *pieces, after]


def _related(scene: Scene, rng: random.Random) -> _Sentence | None:
    """One thing, or several, in a relation to another thing."""
    group = _plural(scene, rng) if rng.random() < 0.6 else None
    subject = group or _single(scene, rng.choice(scene.objects), rng)
    return _beside(scene, rng, subject) if subject else None


def _beside(
    scene: Scene, rng: random.Random, subject: _Noun, but: frozenset[int] = frozenset()
) -> _Sentence | None:
    """The subject in a relation that all of it stands in to some other thing; rarer relations first."""
    others = [thing for thing in scene.objects if thing.id not in subject.objects | but]
    for thing in rng.sample(others, len(others)):
        noun = _single(scene, thing, rng)
        for relation in sorted(RELATION_WORDS, key=lambda name: (name in ("left", "right"), rng.random())):
            if (
                noun
                and subject.objects <= answer(scene, Related(subject.program, relation, noun.program)).sure
            ):
                verb = _verb(scene, subject, rng)
                return [subject, f" {verb} {rng.choice(RELATION_WORDS[relation])} ", noun, "."]
    return None


def _verb(scene: Scene, subject: _Noun, rng: random.Random) -> str:
    poses = {thing.pose for thing in scene.objects if thing.id in subject.objects}
    verbs = {"sitting": "sit", "standing": "stand", "flying": "fly", "waving": "stand"}
    pose = poses.pop() if len(poses) == 1 else ""
    if pose in verbs and rng.random() < 0.6:
        verb = verbs[pose]
        return verb if subject.many else "flies" if verb == "fly" else f"{verb}s"
    return "are" if subject.many else "is"


def _doing(scene: Scene, rng: random.Random) -> _Sentence | None:
    """What one thing does, or where it looks."""
    for thing in rng.sample(scene.objects, len(scene.objects)):
        noun = _single(scene, thing, rng, avoid=("pose", "facing"))
        does = _deeds(thing)
        if noun and does:
            return [noun, f" is {rng.choice(does)}."]
    return None


def _deeds(thing: StreetObject) -> list[str]:
    deeds = [thing.pose] * (thing.pose in ("sitting", "flying", "waving"))
    sees = thing.facing and thing.category != "mailbox"
    return deeds + [f"facing {thing.facing}", f"facing the {thing.facing}"] * bool(sees)


def _more(scene: Scene, rng: random.Random, first: _Sentence) -> _Sentence | None:
    """A second sentence about one thing of the first, by a short name where that is enough; nothing twice."""
    nouns = [piece for piece in first if isinstance(piece, _Noun)]
    noun = rng.choice(nouns)
    if noun.many:
        return None
    thing = next(thing for thing in scene.objects if thing.id in noun.objects)
    short = Named(thing.category)
    program = short if meant(scene, short) == noun.objects else noun.program
    again = _Noun(f"the {spoken(program, rng)}", noun.objects, program)
    said = "".join(piece for piece in first if isinstance(piece, str))
    told = about(noun.program)
    deeds = (
        [] if told & {"pose", "facing"} else [deed for deed in _deeds(thing) if deed.split()[0] not in said]
    )
    deeds += [thing.colour] * (thing.category not in PEOPLE and "colour" not in told)
    if deeds and rng.random() < 0.7:
        return [again, f" is {rng.choice(deeds)}."]
    return _beside(scene, rng, again, but=frozenset().union(*(piece.objects for piece in nouns)))
