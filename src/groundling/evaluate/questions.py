"""Questions: the share that is answered in the same words, of all and of each type, as GQA counts it."""

from collections.abc import Callable
from pathlib import Path

from groundling.data.caption import CaptionSet
from groundling.evaluate.score import Score, Watch, collect, unwatched
from groundling.protocols import gqa
from groundling.results import Answer

Ask = Callable[[Path, str], Answer]  # an image, a question

UNSORTED = "unsorted"  # the type of a question whose dataset sorts none


def accuracy(captions: CaptionSet, ask: Ask, *, model: str = "", watch: Watch = unwatched) -> Score:
    """Accuracy of what `ask` answers; also of the types of question, where it says them.

    Captions that are no question are not asked about. ValueError where no question has an answer, as in the
    splits that a leaderboard keeps.
    """
    asked = [(each, each.answer) for each in captions.captions if each.answer is not None]
    if not asked:
        raise ValueError(f"{captions.name} {captions.split} has no questions whose answers are known")
    answers = collect((ask(each.image, each.text) for each, _ in asked), len(asked), captions.split, watch)
    types = [answer.kind or UNSORTED for _, answer in asked]
    said = [found.kind for found in answers.found if found.kind is not None]
    predicted = said if len(said) == len(asked) else None
    result = gqa.accuracy(
        [found.answer for found in answers.found],
        [answer.text for _, answer in asked],
        types,
        predicted,
        known_types=gqa.TYPES if {*types, *said} <= set(gqa.TYPES) else None,
        detailed_types=[answer.detailed for _, answer in asked],
    )
    return answers.score(captions.name, captions.split, model, result)
