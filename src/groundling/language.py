"""Words in: a tokenizer with a length limit that speaks up, and BERT as text encoder.

Shapes: E expressions, L tokens, D channels; padding (E, L) is True where there is no token.
"""

import string
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from tokenizers import BertWordPieceTokenizer, Tokenizer as FastTokenizer
from torch import Tensor, nn


class TruncationWarning(UserWarning):
    """An expression was longer than the model reads."""


@dataclass(frozen=True)
class Tokens:
    """Token ids (E, L) int64 and padding (E, L) bool, True = no token."""

    ids: Tensor
    padding: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        return Tokens(self.ids.to(device), self.padding.to(device))


class Tokenizer:
    """Lower-casing WordPiece: `[CLS] … [SEP]`, at most `limit` tokens."""

    def __init__(self, fast: FastTokenizer, limit: int) -> None:
        if limit < 3:
            raise ValueError(f"a token limit of {limit} leaves no room for words; give at least 3")
        self._fast, self.limit = fast, limit
        for name in ("[PAD]", "[CLS]", "[SEP]"):
            if fast.token_to_id(name) is None:
                raise ValueError(f"this tokenizer has no {name} token; a BERT WordPiece vocabulary fits")
        self.pad = int(fast.token_to_id("[PAD]"))

    def __len__(self) -> int:
        return int(self._fast.get_vocab_size())

    def encode(self, expressions: Sequence[str]) -> Tokens:
        """Tokens of the expressions, padded to the longest.

        ValueError for an expression without words; a TruncationWarning, and the first tokens, for one
        that is longer than the limit.
        """
        rows = []
        for expression in expressions:
            ids = list(self._encode(expression))
            if len(ids) <= 2:
                raise ValueError(f"expression {expression!r} has no words; say what to look for")
            if len(ids) > self.limit:
                warnings.warn(
                    f"expression of {len(ids)} tokens cut to {self.limit}: {' '.join(expression.split()[:8])} …",
                    TruncationWarning,
                    stacklevel=2,
                )
                ids = [*ids[: self.limit - 1], ids[-1]]
            rows.append(ids)
        length = max(len(ids) for ids in rows)
        ids_EL = torch.full((len(rows), length), self.pad)
        padding_EL = torch.ones(len(rows), length, dtype=torch.bool)
        for row, ids in enumerate(rows):
            ids_EL[row, : len(ids)] = torch.tensor(ids)
            padding_EL[row, : len(ids)] = False
        return Tokens(ids_EL, padding_EL)

    def pieces(self, expression: str) -> list[str]:
        """The word pieces of an expression as the model reads them, `[CLS]` first."""
        return [str(self._fast.id_to_token(i)) for i in self._encode(expression)][: self.limit]

    def _encode(self, expression: str) -> tuple[int, ...]:
        # A word list beyond this is cut before tokenizing: nobody reads it and it would cost time.
        return _encode(self._fast, expression[: self.limit * 200])

    def save(self, path: Path) -> None:
        self._fast.save(str(path), pretty=False)

    @classmethod
    def load(cls, path: Path, limit: int) -> "Tokenizer":
        """A `tokenizer.json`, or BERT's `vocab.txt`."""
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer at {path}; a tokenizer.json or a BERT vocab.txt fits")
        try:
            if path.name.endswith(".txt"):
                return cls(_plain(BertWordPieceTokenizer(str(path), lowercase=True)), limit)
            return cls(FastTokenizer.from_file(str(path)), limit)
        except ValueError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is not a tokenizer: {error}") from error

    @classmethod
    def train(cls, expressions: Iterable[str], size: int, limit: int) -> "Tokenizer":
        """Whole words by how often they occur, after pieces that spell every ASCII word: at most `size`.

        The same expressions give the same vocabulary (the library's own trainer breaks ties at random).
        """
        letters = string.ascii_lowercase + string.digits
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
        pieces += string.punctuation
        if size < len(pieces):
            raise ValueError(f"a vocabulary of {size} is too small; it starts with {len(pieces)} letters and signs")
        plain = _plain(BertWordPieceTokenizer({piece: number for number, piece in enumerate(pieces)}))
        counts: Counter[str] = Counter()
        for expression in expressions:
            text = plain.normalizer.normalize_str(expression)
            counts.update(word for word, _ in plain.pre_tokenizer.pre_tokenize_str(text))
        words = sorted(counts.keys() - set(pieces), key=lambda word: (-counts[word], word))
        vocabulary = {piece: number for number, piece in enumerate([*pieces, *words][:size])}
        return cls(_plain(BertWordPieceTokenizer(vocabulary, lowercase=True)), limit)


def _plain(wordpiece: BertWordPieceTokenizer) -> FastTokenizer:
    return FastTokenizer.from_str(wordpiece.to_str())


@lru_cache(maxsize=65_536)
def _encode(fast: FastTokenizer, expression: str) -> tuple[int, ...]:
    return tuple(fast.encode(expression).ids)


class TextConfig(BaseModel):
    """BERT's sizes; the defaults are bert-base-uncased cut to LADS' six layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = 30_522
    layers: int = 6
    dim: int = 768
    heads: int = 12
    ffn: int = 3072
    tokens: int = 40
    dropout: float = 0.1


class TextEncoder(nn.Module):
    """The first layers of BERT: ids (E, L) → features (E, L, D). Keys are HF's below `bert.`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.config = config
        self.bert = BertModel(
            BertConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.dim,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.ffn,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                attn_implementation="sdpa",
            ),
            add_pooling_layer=False,
        )

    def forward(self, tokens: Tokens) -> Tensor:
        mask = None if not bool(tokens.padding.any()) else (~tokens.padding).long()
        features: Tensor = self.bert(input_ids=tokens.ids, attention_mask=mask).last_hidden_state
        return features
