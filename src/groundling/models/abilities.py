"""What a model can do: its configuration declares it, and upper rooms ask this, never for a system.

if Ability.ANSWERS in model.config.abilities: ...
"""

from enum import StrEnum


class Ability(StrEnum):
    """What one can ask of a model; the value is how a table calls it."""

    GROUNDS = "grounds"  # one box for an expression: models.supernet.Supernet
    MISSES = "says what is not there"  # how sure it is that the thing is in the picture at all
    FINDS = "finds objects of a text"  # all of them, phrase by phrase: models.finder.ObjectFinder
    DETECTS = "detects"  # objects of its own categories, without words: models.detecting.CategoryDetector
    ANSWERS = "answers"  # questions, of an ObjectFinder
    SEGMENTS = "segments"  # the pixels that a phrase means, of an ObjectFinder
    EMBEDS = "embeds"  # objects and texts in one space
    DECIDES = "decides in flight"  # the image takes part in the decision: a trace comes with the answer


TASKS: dict[Ability, str] = {
    Ability.GROUNDS: "ground an expression",
    Ability.MISSES: "say that something is not in the picture",
    Ability.FINDS: "find all objects of a text",
    Ability.DETECTS: "detect objects of categories of its own",
    Ability.ANSWERS: "answer questions",
    Ability.SEGMENTS: "segment",
    Ability.EMBEDS: "embed objects and texts",
    Ability.DECIDES: "decide while it looks at the image",
}
