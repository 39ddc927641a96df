"""MDETR's objective on captions: the losses of `modulated` for what each caption's words mean."""

from typing import Any

from torch import Tensor

from groundling.dynamic.gates import Draw
from groundling.losses.grounding import drawn_gates
from groundling.losses.modulated import ModulatedLoss, modulated_losses
from groundling.models.finder import ObjectFinder
from groundling.words.tokens import Tokens

# Of a kind of answers that a batch has no question for there is no accuracy, and a log wants the same numbers
# of every step and process.
LOGGED = ("metric/type_accuracy", "metric/answer_accuracy")


def mdetr_losses(model: ObjectFinder, batch: Any, draw: Draw, weights: ModulatedLoss) -> dict[str, Tensor]:
    """The losses of a `data.modulated.CaptionBatch`, which is made in a room that this one does not see.

    Where words choose what runs, the gates are drawn and weighed as those of LADS. Metrics: how many
    questions have the right type, and the right answer of it; 1 where there are none.
    """
    if not isinstance(model, ObjectFinder):
        raise ValueError(
            "objective mdetr trains a model that finds objects of a text, "
            f"given a {type(model).__name__.lower()}"
        )
    tokens = Tokens(batch.ids, batch.padding)
    text = model.text(tokens)
    gates, losses = drawn_gates(model, text, tokens, draw, weights)
    images = model.config.framing.normalise(batch.images, batch.shown)
    memory = model.net.read(images, text, tokens, batch.image_index, gates, batch.shown)
    found = modulated_losses(model.net, memory, batch.targets, weights)
    losses |= {name: loss for name, loss in found.items() if not name.startswith("metric/")}
    if model.net.answers is None:
        return losses
    names = LOGGED if model.net.answers.config.types else LOGGED[1:]
    return losses | {name: found.get(name, memory.encoded.new_ones(())) for name in names}
