"""Words of the data join the vocabulary of the weights that a run begins with, and its long texts are read.

A word that the vocabulary does not have would be read letter by letter, or as a shorter word and letters: it
costs a token a letter, and what it is read as means other words too. Each such word becomes a piece of its
own, whose row of the embedding begins as the mean of the rows that spelled it. Rows that were there stay as
they are, bit for bit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from groundling import checkpoint
from groundling.models import parse_config

if TYPE_CHECKING:
    from groundling.words.wordpiece import Tokenizer

TWICE = 2  # a word of one text says which text it is, and would be learned as its name
WHOLE = 4096  # tokens: more than any text that is learned from
ROWS, PLACES = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"


@dataclass(frozen=True)
class Growth:
    """What is added to the text encoder of some weights: `model` and `tokenizer` have room for it.

    words: the new ones, in the order of their ids, which begin at `first`. spelled: the ids that each of them
    was read as. before: how many tokens were read at most.
    """

    model: Mapping[str, Any]
    tokenizer: "Tokenizer"
    words: tuple[str, ...]
    first: int
    spelled: tuple[tuple[int, ...], ...]
    before: int

    def told(self) -> str:
        """A line for whoever trains; empty where nothing was added."""
        parts = []
        if self.words:
            named = ", ".join(self.words[:3]) + (", …" if len(self.words) > 3 else "")
            parts.append(f"{len(self.words)} words of the data join the vocabulary ({named})")
        if self.tokenizer.limit > self.before:
            parts.append(f"expressions are read up to {self.tokenizer.limit} tokens, {self.before} before")
        return "; ".join(parts)

    def origin(self) -> dict[str, Any]:
        """What a checkpoint says of it."""
        return {"words_added": len(self.words), "tokens_before": self.before}

    def applied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the new rows; all others as they were."""
        return {name: self._grown(name, tensor) for name, tensor in tensors.items()}

    def _grown(self, name: str, tensor: Tensor) -> Tensor:
        text: Any = self.model["text"]
        if name.startswith("text.") and name.endswith(ROWS):
            rows = _longer(tensor, text["vocabulary"])
            if self.words:
                new = [tensor[list(ids)].mean(0) for ids in self.spelled]
                rows[self.first : self.first + len(new)] = torch.stack(new)
            return rows
        if name.startswith("text.") and name.endswith(PLACES) and self.tokenizer.limit > self.before:
            begin = text["positions"] - text["tokens"] if "positions" in text else 0
            rows = _longer(tensor, begin + self.tokenizer.limit)
            known = rows[begin : begin + self.before]
            # No text was so long: what comes there is read as the end of the longest ones was.
            rows[begin + self.before : begin + self.tokenizer.limit] = known[-(len(known) // 4 or 1) :].mean(
                0
            )
            return rows
        return tensor


def growth(folder: Path, model: Mapping[str, Any], texts: Sequence[str], words: int, tokens: int) -> Growth:
    """What the weights of a checkpoint folder need to read these texts.

    model: the run's configuration. words: so many may join the vocabulary, the most frequent first, of those
    that come at least TWICE. tokens: texts that are longer stay cut.
    """
    held = checkpoint.read_config(folder)["model"]["text"]  # grown before, if it was fine-tuned
    old = checkpoint.load_tokenizer(folder)
    whole, _ = old.taught((), WHOLE)  # which sees the words behind the limit, too
    counts = Counter(word for text in texts for word in dict.fromkeys(whole.in_letters(text)))
    often = [word for word, count in counts.items() if count >= TWICE]
    chosen = sorted(often, key=lambda word: (-counts[word], word))[:words]
    taught, added = whole.taught(chosen, WHOLE)
    limit = max(old.limit, min(max(map(taught.length, texts)), tokens))
    taught, _ = taught.taught((), limit)
    sizes = {
        "vocabulary": max(held["vocabulary"], taught.highest + 1),
        "tokens": max(held["tokens"], limit),
    }
    if "positions" in held:
        sizes["positions"] = max(held["positions"], limit + held["positions"] - held["tokens"])
    config = parse_config({**model, "text": {**model["text"], **sizes}})
    first = old.highest + 1
    spelled = tuple(tuple(whole.encode([word]).ids[0, 1:-1].tolist()) for word in added)
    return Growth(config.model_dump(mode="json"), taught, added, first, spelled, old.limit)


def _longer(tensor: Tensor, rows: int) -> Tensor:
    """A copy with at least so many rows; new ones are zero."""
    new = tensor.new_zeros(max(len(tensor), rows), tensor.shape[1])
    new[: len(tensor)] = tensor
    return new
