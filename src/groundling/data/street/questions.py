"""Questions about a scene, of thirteen types in turn, with short answers and evidence.

Of each type that asks for yes or no, half of the answers are yes. A question whose answer is no is a true
statement in which one word was changed, so that the words alone tell little. Nothing is asked that people
might see in two ways: what `meaning` is not sure of is left out.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator

from groundling.data.street import attribute_questions, object_questions
from groundling.data.street.question import KINDS, Question
from groundling.data.street.scenes import Scene

MAKERS = {**attribute_questions.MAKERS, **object_questions.MAKERS}
TRIES = 6  # for each question, with other objects; its answer yes or no stays


def questions(scene: Scene, count: int = 8, only: Collection[str] | None = None) -> tuple[Question, ...]:
    """Up to `count` different questions; `only` keeps to some of the types in KINDS."""
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    kinds = [kind for kind in KINDS if only is None or kind in only]
    wrong = sorted(set(only or ()) - set(KINDS))
    if wrong or not kinds:
        raise ValueError(f"unknown types {', '.join(wrong) or '(none)'}; there are {', '.join(KINDS)}")
    rng = random.Random(f"questions:{scene.seed}:{scene.index}")
    found: dict[str, Question] = {}
    for kind in _turns(kinds, 2 * count + len(kinds), rng):
        if len(found) == count:
            break
        yes = rng.random() < 0.5
        tries = (MAKERS[kind](scene, rng, yes) for _ in range(TRIES))
        new = next((question for question in tries if question and question.text not in found), None)
        if new is not None:
            found[new.text] = new
    return tuple(found.values())


def _turns(kinds: list[str], count: int, rng: random.Random) -> Iterator[str]:
    """The types, all once in random order, then all again …, `count` in all."""
    order: list[str] = []
    for _ in range(count):
        order = order or rng.sample(kinds, len(kinds))
        yield order.pop()
