"""Questions about what is there, where, and of what kind: six of the thirteen types."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from groundling.data.street.attribute_questions import Maker
from groundling.data.street.meaning import RELATIONS, Having, Named, Posed, Program, Related, Side
from groundling.data.street.phrases import RELATION_WORDS, a_or_an, meant, one, spoken
from groundling.data.street.question import Meaning, Question, Steps, asked
from groundling.data.street.scenes import Scene, StreetObject
from groundling.data.street.statements import falsified, mixed_relations, related, there_is
from groundling.data.street.traits import HELD, WORN, predicate, traits
from groundling.data.street.words import CATEGORIES, PEOPLE

KINDS_OF: Mapping[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "bird"),
    "vehicle": ("car", "bus", "truck", "bicycle"),
    "person": PEOPLE,
}
THERE = (("Is there", "in the picture"), ("Is there", ""), ("Do you see", ""), ("Does the picture show", ""))


def exist(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is there an apple in the picture?"""
    found = _claim(scene, rng, yes)
    if found is None:
        return None
    before, after = rng.choice(THERE)
    pieces: list[str | Meaning] = [f"{before} {_article(found)}", found, after]
    return asked("exist", pieces, _word(yes), (_select(found), ("exist", "")))


def exist_related(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is there an apple on the black table?"""
    true = related(scene, rng)
    program = true if yes or true is None else falsified(scene, true, rng)
    if not isinstance(program, Related):
        return None
    subject = Meaning(spoken(program.of, rng), next(iter(meant(scene, program)), None))
    place = Meaning(spoken(program.to, rng), *meant(scene, program.to))
    words = rng.choice(RELATION_WORDS[program.relation])
    pieces: list[str | Meaning] = [f"Is there {_article(subject)}", subject, f"{words} the", place]
    steps = (_select(place), ("relate", f"{subject.words},{program.relation}"), ("exist", ""))
    return asked("existRel", pieces, _word(yes), steps)


def either(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Do you see either an apple or a banana there?"""
    truths = rng.choice(((True, False), (False, True), (True, True))) if yes else (False, False)
    return _joined("logicOr", scene, rng, truths, yes)


def both(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Do you see both green apples and bananas there?"""
    truths = (True, True) if yes else rng.choice(((True, False), (False, True), (False, False)))
    return _joined("logicAnd", scene, rng, truths, yes)


def query_object(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """What kind of fruit is on the table?"""
    found = _described(scene, rng)
    if found is None:
        return None
    noun, thing = found.noun, found.thing
    who = {"person": "Who", "": "What"}.get(noun)
    what = (
        [Meaning(who, thing.id)] if who else [rng.choice(("What kind of", "Which")), Meaning(noun, thing.id)]
    )
    pieces: list[str | Meaning] = [*what, "is", *found.after]
    return asked("queryObject", pieces, thing.category, found.steps(("query", "name")), thing.id)


def choose_object(scene: Scene, rng: random.Random, yes: bool) -> Question | None:
    """Is the fruit on the table an apple or a banana?"""
    found = _described(scene, rng)
    if found is None:
        return None
    thing = found.thing
    kind = KINDS_OF.get(found.noun) or [name for name in CATEGORIES if name not in PEOPLE]
    names = [thing.category, rng.choice([name for name in kind if name != thing.category])]
    rng.shuffle(names)
    noun = Meaning(found.noun or "thing", thing.id)
    pieces: list[str | Meaning] = ["Is the", noun, *found.after, " or ".join(map(a_or_an, names))]
    return asked("chooseObject", pieces, thing.category, found.steps(("choose", "|".join(names))), thing.id)


MAKERS: Mapping[str, Maker] = {
    "exist": exist,
    "existRel": exist_related,
    "logicOr": either,
    "logicAnd": both,
    "queryObject": query_object,
    "chooseObject": choose_object,
}


@dataclass(frozen=True)
class _Described:
    """A thing by the noun of its kind ("" for anything but people) and by what is said of it."""

    thing: StreetObject
    noun: str
    after: tuple[str | Meaning, ...]

    def steps(self, last: tuple[str, str]) -> Steps:
        """Select by the kind, keep what is said, then the last step."""
        said = " ".join(piece if isinstance(piece, str) else piece.words for piece in self.after)
        return ("select", f"{self.noun or 'thing'} ({self.thing.id})"), ("filter", said), last


def _described(scene: Scene, rng: random.Random) -> _Described | None:
    thing = rng.choice(scene.objects)
    noun = next((noun for noun, names in KINDS_OF.items() if thing.category in names), "")
    if not noun or (noun != "person" and rng.random() < 0.2):
        return _anything(scene, thing, rng)
    base = Named(noun)
    ways = list(_ways(scene, thing, base, rng))
    for program, after in rng.sample(ways, len(ways)):
        if meant(scene, program) == {thing.id}:
            return _Described(thing, noun, after)
    return None


def _ways(
    scene: Scene, thing: StreetObject, base: Named, rng: random.Random
) -> Iterator[tuple[Program, tuple[str | Meaning, ...]]]:
    """What can be said of the thing, as a program and in words after its noun."""
    yield base, ("in the picture",)
    for side in ("left", "right"):
        yield Side(base, side), (f"on the {side}",)
    for trait in traits(scene, thing):
        words = predicate(trait, trait.value) or ""
        if trait.name in ("pose", "facing"):
            yield Posed(base, trait.value), (words,)
        elif trait.name in (*WORN, *HELD):
            yield Having(base, trait.name, trait.value), (words,)
    others = [other for other in scene.objects if other is not thing]
    for other in rng.sample(others, min(2, len(others))):
        to = one(scene, other, rng)
        if to is not None:
            place = Meaning(spoken(to, rng), other.id)
            for relation in mixed_relations(rng)[:5]:
                yield Related(base, relation, to), (f"{rng.choice(RELATION_WORDS[relation])} the", place)


def _anything(scene: Scene, thing: StreetObject, rng: random.Random) -> _Described | None:
    """The thing as the only one in some relation to another."""
    others = [other for other in scene.objects if other is not thing]
    for other in rng.sample(others, len(others)):
        rest = [each for each in scene.objects if each is not other]
        for relation in mixed_relations(rng):
            sure, maybe = RELATIONS[relation]
            alone = [each for each in rest if maybe(each, other, scene.size)] == [thing]
            to = one(scene, other, rng) if alone and sure(thing, other, scene.size) else None
            if to is not None:
                words = f"{rng.choice(RELATION_WORDS[relation])} the"
                return _Described(thing, "", (words, Meaning(spoken(to, rng), other.id)))
    return None


def _claim(scene: Scene, rng: random.Random, true: bool) -> Meaning | None:
    """What is there, once, or what is not."""
    program = there_is(scene, rng)
    if program is not None and not true:
        program = falsified(scene, program, rng)
    if program is None:
        return None
    return Meaning(spoken(program, rng), next(iter(meant(scene, program)), None))


def _joined(
    kind: str, scene: Scene, rng: random.Random, truths: tuple[bool, bool], yes: bool
) -> Question | None:
    first, second = (_claim(scene, rng, true) for true in truths)
    if first is None or second is None or first.words == second.words or _same(first, second):
        return None
    verb = rng.choice(("Is there", "Do you see"))
    word, link = ("either", "or") if kind == "logicOr" else ("both", "and")
    pieces: list[str | Meaning] = [
        f"{verb} {word} {_article(first)}",
        first,
        f"{link} {_article(second)}",
        second,
    ]
    steps = (_select(first), ("exist", ""), _select(second), ("exist", ""), (link, ""))
    return asked(kind, pieces, _word(yes), steps)


def _same(one: Meaning, two: Meaning) -> bool:
    return one.object is not None and one.object == two.object


def _article(meaning: Meaning) -> str:
    return a_or_an(meaning.words).split()[0]


def _select(meaning: Meaning) -> tuple[str, str]:
    return "select", f"{meaning.words} ({'-' if meaning.object is None else meaning.object})"


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
