"""What words are to a model, kept for words that come again: a video asks the same ones of every frame."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import Tensor

from groundling.dynamic.gates import Relevance, decided
from groundling.layers.fused import packed
from groundling.models.supernet import Supernet
from groundling.selection import Selection
from groundling.words.text import normalised
from groundling.words.tokens import Tokens
from groundling.words.wordpiece import Tokenizer

BIT_BYTES = 8  # of a Selection: a reference to True or False
ENTRY_BYTES = 2048  # of the objects around them


@dataclass(frozen=True)
class Words:
    """One expression as the model reads it, for a batch of one."""

    tokens: Tokens
    text: Tensor  # features (1, L, D)
    relevance: Relevance | None  # of every unit; None for a static network
    selection: Selection  # what the words choose
    strange: tuple[str, ...]  # words that the model was never taught

    def nbytes(self, expression: str) -> int:
        """Memory that keeping them under their expression takes."""
        scores = (self.relevance or {}).values()
        bits = sum(len(bits) for _, bits in self.selection.units)
        letters = 4 * (len(expression) + sum(map(len, self.strange)))
        held = self.text.nbytes + sum(score.nbytes for score in scores)
        return ENTRY_BYTES + letters + held + BIT_BYTES * bits


class Reader:
    """Reads expressions, those that were read last only once, in at most `limit_bytes`; for any threads.

    The text encoder is packed here, so words are read with the weights that the model had: after training or
    loading `Grounder.refresh` makes another reader. `taught` are words that the tokenizer spells and the
    model knows. `familiar` are all words of the training of a model whose text encoder knows more: a text is
    strange to it where half of its words are not among them, as most words of another language.
    """

    def __init__(
        self,
        model: Supernet,
        tokenizer: Tokenizer,
        taught: Collection[str],
        limit_bytes: int,
        familiar: Collection[str] = (),
    ) -> None:
        self.familiar = frozenset(familiar)
        self.tokenizer, self.taught, self.limit_bytes = tokenizer, frozenset(taught), limit_bytes
        self.text = packed(model.text)
        self.selector = None if model.selector is None else packed(model.selector)
        self._device = next(model.parameters()).device
        self._known: OrderedDict[str, Words] = OrderedDict()  # used last is last
        self._bytes, self._lock = 0, threading.Lock()

    def like(self, limit_bytes: int, choosing: bool = True) -> "Reader":
        """Another reader with the same packed encoder; without `choosing`, for a static network."""
        other = copy.copy(self)
        other.limit_bytes, other.selector = limit_bytes, self.selector if choosing else None
        other._known, other._bytes, other._lock = OrderedDict(), 0, threading.Lock()
        return other

    def read(self, expression: str) -> Words:
        """The words of an expression; ValueError for one without any."""
        expression = normalised(expression).text  # one entry, whatever its spaces are made of
        with self._lock:
            if (known := self._known.get(expression)) is not None:
                self._known.move_to_end(expression)
                return known
        tokens, text, relevance = self.read_all([expression])
        selection = Selection(()) if relevance is None else decided(relevance)[0]
        words = Words(tokens, text, relevance, selection, self.strange(expression))
        if tokens.ids.shape[1] < self.tokenizer.limit:  # else it may have been cut, which is said each time
            self._keep(expression, words)
        return words

    def read_all(self, expressions: Sequence[str]) -> tuple[Tokens, Tensor, Relevance | None]:
        """Tokens, features (E, L, D) and relevance of a batch; nothing is kept."""
        tokens = self.tokenizer.encode(expressions).to(self._device)
        text = self.text(tokens)
        return tokens, text, None if self.selector is None else self.selector(text, tokens)

    def strange(self, expression: str) -> tuple[str, ...]:
        """Words of an expression that the model was never taught."""
        if self.familiar:
            words = self.tokenizer.words(expression)
            unseen = tuple(word for word in words if word not in self.familiar)
            if 2 * len(unseen) >= len(words):
                return unseen
        known = self.taught | self.familiar
        return tuple(word for word in self.tokenizer.spelled(expression) if word not in known)

    def _keep(self, expression: str, words: Words) -> None:
        size = words.nbytes(expression)
        with self._lock:
            if expression in self._known or size > self.limit_bytes:
                return
            self._known[expression] = words
            self._bytes += size
            while self._bytes > self.limit_bytes:
                oldest, gone = self._known.popitem(last=False)
                self._bytes -= gone.nbytes(oldest)
