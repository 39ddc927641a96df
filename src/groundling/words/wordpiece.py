"""A WordPiece tokenizer with a length limit that speaks up."""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from tokenizers import Tokenizer as FastTokenizer

from groundling import callers
from groundling.words.tokens import Tokens, TruncationWarning


class Tokenizer:
    """Lower-casing WordPiece: `[CLS] … [SEP]`, at most `limit` tokens."""

    def __init__(self, fast: FastTokenizer, limit: int) -> None:
        if limit < 3:
            raise ValueError(f"a token limit of {limit} leaves no room for words; give at least 3")
        for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"):
            if fast.token_to_id(name) is None:
                raise ValueError(f"this tokenizer has no {name} token; a BERT WordPiece vocabulary fits")
        # Published tokenizer files may cut and pad by themselves, which would hide long expressions.
        fast.no_truncation()
        fast.no_padding()
        fast.encode_special_tokens = True  # nobody types [SEP] into a model
        if fast.encode("").tokens != ["[CLS]", "[SEP]"]:
            raise ValueError("this tokenizer does not put words between [CLS] and [SEP]; BERT's does")
        self._fast, self.limit = fast, limit
        self.pad: int = fast.get_vocab()["[PAD]"]
        self.highest = max(fast.get_vocab().values())

    def __len__(self) -> int:
        return int(self._fast.get_vocab_size())

    def encode(self, expressions: Sequence[str]) -> Tokens:
        """Tokens of the expressions, padded to the longest.

        ValueError for an expression without words; a TruncationWarning, and the first tokens, for one
        that is longer than the limit.
        """
        rows = []
        for expression in expressions:
            ids, whole = self._encode(expression)
            if len(ids) <= 2:
                raise ValueError(f"expression {expression[:80]!r} has no words; say what to look for")
            if not whole:
                words = expression.split()
                start = " ".join(words[:8])[:80]
                callers.warn(
                    f"expression of {len(words)} words cut to {self.limit} tokens: {start} …",
                    TruncationWarning,
                )
            rows.append(ids)
        if not rows:
            raise ValueError("no expressions to encode")
        length = max(len(ids) for ids in rows)
        ids_EL = torch.full((len(rows), length), self.pad)
        padding_EL = torch.ones(len(rows), length, dtype=torch.bool)
        for row, ids in enumerate(rows):
            ids_EL[row, : len(ids)] = torch.tensor(ids)
            padding_EL[row, : len(ids)] = False
        return Tokens(ids_EL, padding_EL)

    def pieces(self, expression: str) -> list[str]:
        """The word pieces of an expression as the model reads them, `[CLS]` first."""
        return [str(self._fast.id_to_token(i)) for i in self._encode(expression)[0]]

    def spelled(self, expression: str) -> tuple[str, ...]:
        """Words that have no piece longer than a letter: known only where a training had them."""
        text = " ".join(expression.split())[: self.limit * 200]
        try:
            read = self._fast.encode(text, add_special_tokens=False)
        except TypeError as error:
            raise _not_unicode(expression) from error
        words: dict[int | None, list[int]] = {}
        for index, word in enumerate(read.word_ids[: self.limit]):
            words.setdefault(word, []).append(index)
        found = []
        for indices in words.values():
            pieces = [read.tokens[index].removeprefix("##") for index in indices]
            if "[UNK]" in pieces:
                found.append(text[read.offsets[indices[0]][0] : read.offsets[indices[-1]][1]])
            elif len(pieces) > 1 and all(len(piece) == 1 for piece in pieces):
                found.append("".join(pieces))
        return tuple(found)

    def _encode(self, expression: str) -> tuple[list[int], bool]:
        """At most `limit` ids, and whether they are the whole expression."""
        text = " ".join(expression.split())
        readable = text[: self.limit * 200]  # nobody reads what is longer, and tokenizing it would cost time
        try:
            ids = list(self._fast.encode(readable).ids)
        except TypeError as error:
            raise _not_unicode(expression) from error
        if len(ids) <= self.limit:
            return ids, len(readable) == len(text)
        return [*ids[: self.limit - 1], ids[-1]], False

    def save(self, path: Path) -> None:
        """Write a `tokenizer.json`."""
        self._fast.save(str(path), pretty=False)

    def as_json(self) -> str:
        """What `save` writes."""
        text: str = self._fast.to_str(pretty=False)
        return text

    @classmethod
    def from_json(cls, text: str, limit: int) -> "Tokenizer":
        """What `as_json` gave; ValueError for anything else."""
        try:
            return cls(FastTokenizer.from_str(text), limit)
        except ValueError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"not a tokenizer: {error}") from error

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
            raise ValueError(
                f"a vocabulary of {size} is too small; it starts with {len(pieces)} letters and signs"
            )
        plain = _plain(BertWordPieceTokenizer({piece: number for number, piece in enumerate(pieces)}))
        counts: Counter[str] = Counter()
        for expression in expressions:
            text = plain.normalizer.normalize_str(expression)
            counts.update(word for word, _ in plain.pre_tokenizer.pre_tokenize_str(text))
        words = sorted(counts.keys() - set(pieces), key=lambda word: (-counts[word], word))
        vocabulary = {piece: number for number, piece in enumerate([*pieces, *words][:size])}
        return cls(_plain(BertWordPieceTokenizer(vocabulary, lowercase=True)), limit)


def _not_unicode(expression: str) -> ValueError:
    """What is wrong where the library takes a str for none: it holds half of a surrogate pair."""
    return ValueError(f"expression {expression[:80]!r} is not valid Unicode")


def _plain(wordpiece: BertWordPieceTokenizer) -> FastTokenizer:
    return FastTokenizer.from_str(wordpiece.to_str())
