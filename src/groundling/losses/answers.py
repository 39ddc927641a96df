"""Losses of a question: its type, the answer among those of its type, and which boxes it is finally about.

MDETR for GQA and CLEVR. Shapes: E questions, B images, Q queries, N targets (padded).
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from groundling.losses.matching import Matching


def answer_losses(
    found: Mapping[str, Tensor], answers_E: Tensor, types_E: Tensor | None, types: Sequence[str]
) -> dict[str, Tensor]:
    """Cross-entropies `answer_type` and `answer_KIND` of each kind, and accuracies as metrics.

    `found` are the model's logits (E, outputs) by kind; `types_E` indexes `types`, the names in the order of
    the type head; `answers_E` is the answer among those of its question's type. Each kind's loss is the mean
    over its own questions, 0 where the batch has none. Without types, the one kind's answers are all there
    is: `types_E` is None and `types` empty. A kind of one output answers no (0) or yes (1). A row whose
    answer is −1 is no question and teaches nothing; with none at all accuracies of types and answers are 1.
    """
    asked_E = answers_E >= 0
    if types_E is None:
        ((kind, logits),) = found.items()
        right = _right(logits, answers_E)[asked_E].float()
        accuracy = right.mean() if len(right) else right.new_ones(())
        return {
            f"answer_{kind}": _wrong(logits, answers_E, asked_E).sum() / asked_E.sum().clamp(min=1),
            "metric/answer_accuracy": accuracy,
        }
    typed = found["type"].argmax(-1) == types_E
    each = F.cross_entropy(found["type"].float(), types_E.clamp(min=0), reduction="none")
    losses = {"answer_type": each.masked_fill(~asked_E, 0).sum() / asked_E.sum().clamp(min=1)}
    right_E = torch.zeros_like(typed)
    for index, kind in enumerate(types):
        own = types_E == index
        answered = _right(found[kind], answers_E)
        right_E |= own & answered & typed
        losses |= _of(kind, found[kind], answers_E, own, answered)
    for name, good_E in (("type", typed), ("answer", right_E)):
        right = good_E[asked_E].float()
        losses[f"metric/{name}_accuracy"] = right.mean() if len(right) else right.new_ones(())
    return losses


def _of(kind: str, logits: Tensor, answers_E: Tensor, own_E: Tensor, right_E: Tensor) -> dict[str, Tensor]:
    """The loss of one kind over its own questions, and how many of them it answers, if there are any."""
    each = _wrong(logits, answers_E, own_E)
    losses = {f"answer_{kind}": each.sum() / own_E.sum().clamp(min=1)}
    if bool(own_E.any()):
        losses[f"metric/{kind}_accuracy"] = right_E[own_E].float().mean()
    return losses


def evidence_loss(
    said: Mapping[str, Tensor], answers_M: Tensor, types_M: Tensor | None, types: Sequence[str]
) -> Tensor:
    """The mean cross-entropy of answers said by objects that are, each alone, what its question is about.

    Arguments as those of `answer_losses`, without the type; 0 without an object.
    """
    if types_M is None:
        ((_, logits),) = said.items()
        each = _wrong(logits, answers_M, torch.ones_like(answers_M, dtype=torch.bool))
    else:
        each = torch.stack(
            [_wrong(said[kind], answers_M, types_M == index) for index, kind in enumerate(types)]
        ).sum(0)
    return each.sum() / max(len(each), 1)


def _wrong(logits: Tensor, answers_E: Tensor, own_E: Tensor) -> Tensor:
    """Cross-entropy of each question of this kind, 0 of others: their answers are no index here."""
    place = answers_E.masked_fill(~own_E, 0)
    if logits.shape[1] == 1:
        each = F.binary_cross_entropy_with_logits(logits[:, 0].float(), place.float(), reduction="none")
    else:
        each = F.cross_entropy(logits.float(), place, reduction="none")
    return each.masked_fill(~own_E, 0)


def _right(logits: Tensor, answers_E: Tensor) -> Tensor:
    answer = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(-1)
    return answer == answers_E


def final_loss(logits_BQ: Tensor, final_BN: Tensor, matching: Matching, boxes: Tensor) -> Tensor:
    """Binary cross-entropy of whether a matched object is what is asked for, or only mentioned on the way."""
    found, wanted = matching.of_predictions(logits_BQ).float(), matching.of_targets(final_BN).float()
    return F.binary_cross_entropy_with_logits(found, wanted, reduction="sum") / boxes
