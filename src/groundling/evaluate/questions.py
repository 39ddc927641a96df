"""Questions: the share that is answered in the same words, of all and of each type, as GQA counts it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from groundling.data.caption import CaptionSet
from groundling.evaluate.score import Score, Watch, by_image, collect, together, unwatched
from groundling.protocols import gqa
from groundling.results import Answer

Ask = Callable[[Path, Sequence[str]], Sequence[Answer]]  # an image, its questions

UNSORTED = "unsorted"  # the type of a question whose dataset sorts none


def accuracy(captions: CaptionSet, ask: Ask, *, model: str = "", watch: Watch = unwatched) -> Score:
    """Accuracy of what `ask` answers; also of the types of question, where it says them.

    Captions that are no question are not asked about; all questions of an image are, at once. ValueError
    where no question has an answer, as in the splits that a leaderboard keeps.
    """
    questions = by_image(caption for caption in captions.captions if caption.answer is not None)
    if not questions:
        raise ValueError(f"{captions.name} {captions.split} has no questions whose answers are known")
    told = together(questions, lambda caption: caption.text, ask)
    answers = collect(told, len(questions), captions.split, watch)
    true = [caption.answer for caption in questions if caption.answer is not None]
    types = [answer.kind or UNSORTED for answer in true]
    said = [found.kind for found in answers.found if found.kind is not None]
    predicted = said if len(said) == len(true) else None
    result = gqa.accuracy(
        [found.answer for found in answers.found],
        [answer.text for answer in true],
        types,
        predicted,
        known_types=gqa.TYPES if {*types, *said} <= set(gqa.TYPES) else None,
        detailed_types=[answer.detailed for answer in true],
    )
    return answers.score(captions.name, captions.split, model, result)
