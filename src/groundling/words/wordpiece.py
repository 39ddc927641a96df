"""A WordPiece tokenizer with a length limit that speaks up, and what all tokenizers have in common.

Texts are normalised (`words.text`) before they are read, whoever gives them, and `offsets` are characters of
the text as it was given.
"""

import json
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch
from tokenizers import BertWordPieceTokenizer, Encoding
from tokenizers import Tokenizer as FastTokenizer

from groundling import callers
from groundling.words.text import Normalised, Span, normalised, read_words
from groundling.words.text_files import read_lines
from groundling.words.tokens import Tokens, TruncationWarning

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """Lower-casing WordPiece: `[CLS] … [SEP]`, at most `limit` tokens."""

    _ENDS: ClassVar[tuple[str, str]] = ("[CLS]", "[SEP]")
    _UNKNOWN: ClassVar[str] = "[UNK]"
    _WITHIN: ClassVar[str] = "##"  # how a piece says that it goes on in a word, or begins one
    _FILES: ClassVar[str] = "a tokenizer.json or a BERT vocab.txt"

    def __init__(self, fast: FastTokenizer, limit: int) -> None:
        if limit < 3:
            raise ValueError(f"a token limit must be 3 or more, to leave room for words, given {limit}")
        # Published tokenizer files may cut and pad by themselves, which would hide long expressions.
        fast.no_truncation()
        fast.no_padding()
        fast.encode_special_tokens = True  # nobody types [SEP] into a model
        if fast.encode("").tokens != list(self._ENDS):
            first, last = self._ENDS
            raise ValueError(f"this tokenizer does not put words between {first} and {last}")
        self._check(fast)
        self._fast, self.limit = fast, limit
        self.pad = self._pad(fast)
        vocabulary = fast.get_vocab()
        self.highest = max(vocabulary.values())
        within = {len(piece) - 2 for piece in vocabulary if piece.startswith("##")}
        self._whole_words = within == {1}  # as `train` makes them; BERT's have endings such as ##ing

    def __len__(self) -> int:
        return int(self._fast.get_vocab_size())

    def encode(self, expressions: Sequence[str]) -> Tokens:
        """Tokens of the expressions, padded to the longest.

        ValueError for an expression without words; a TruncationWarning, and the first tokens, for one
        that is longer than the limit.
        """
        rows = []
        for expression in expressions:
            ids, whole = self._encode(read_words(expression))
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
        return [str(self._fast.id_to_token(i)) for i in self._encode(normalised(expression))[0]]

    def length(self, text: str) -> int:
        """The tokens that it takes to read all of a text."""
        return len(self._fast.encode(normalised(text).text).ids)

    def offsets(self, text: str) -> tuple[Span, ...]:
        """The characters [begin, end) of each token of a text as given; (0, 0) for those at its two ends.

        ValueError for a text of more tokens than the limit: phrases at its end would be nowhere.
        """
        words = normalised(text)
        offsets = tuple(self._read(words).offsets)
        if len(offsets) > self.limit or len(words.text) > self._readable:
            raise ValueError(
                f"a text of {len(offsets)} tokens is too long for a model that reads {self.limit}: "
                f"{' '.join(text.split()[:8])[:80]} …"
            )
        return tuple(map(words.back, offsets))

    def spelled(self, expression: str) -> tuple[str, ...]:
        """Words that have no piece longer than a letter: known only where a training had them.

        So are words that end in letters, where letters are all that a vocabulary has behind whole words.
        """
        if self._whole_words:
            return self.in_letters(expression)
        return tuple(
            word
            for word, pieces in self._cut(expression)
            if self._UNKNOWN in pieces or (len(word) > 1 and all(len(piece) <= 1 for piece in pieces))
        )

    def words(self, expression: str) -> tuple[str, ...]:
        """The words of an expression as they are counted, without signs."""
        return tuple(word for word, _ in self._cut(expression))

    def in_letters(self, expression: str) -> tuple[str, ...]:
        """Words that end in a single letter: those that are spelled, "hatched" where only "hat" is known."""
        return tuple(
            word
            for word, pieces in self._cut(expression)
            if self._UNKNOWN in pieces or (len(pieces) > 1 and len(pieces[-1]) <= 1)
        )

    def save(self, path: Path) -> None:
        """Write a `tokenizer.json`."""
        self._fast.save(str(path), pretty=False)

    def as_json(self) -> str:
        """What `save` writes."""
        text: str = self._fast.to_str(pretty=False)
        return text

    @classmethod
    def from_json(cls, text: str, limit: int) -> Self:
        """What `as_json` gave; ValueError for anything else."""
        try:
            return cls(FastTokenizer.from_str(text), limit)
        except ValueError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"this is not a tokenizer: {error}") from error

    @classmethod
    def load(cls, path: Path, limit: int) -> Self:
        """A `tokenizer.json`, or the vocabulary as it is published: BERT's `vocab.txt`."""
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer at {path}; give {cls._FILES}")
        try:
            return cls(cls._published(path) or FastTokenizer.from_file(str(path)), limit)
        except ValueError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is not a tokenizer: {error}") from error

    @classmethod
    def train(cls, expressions: Iterable[str], size: int, limit: int) -> Self:
        """Whole words by how often they occur, after pieces that spell every ASCII word: at most `size`.

        The same expressions give the same vocabulary (the library's own trainer breaks ties at random).
        """
        letters = string.ascii_lowercase + string.digits
        pieces = [*SPECIAL, *letters, *(f"##{x}" for x in letters), *string.punctuation]
        if size < len(pieces):
            raise ValueError(
                f"a vocabulary of {size} is too small; it starts with {len(pieces)} letters and signs"
            )
        counts = _words(_plain(BertWordPieceTokenizer(_numbered(pieces))), expressions)
        words = sorted(counts.keys() - set(pieces), key=lambda word: (-counts[word], word))
        vocabulary = _numbered([*pieces, *words][:size])
        return cls(_plain(BertWordPieceTokenizer(vocabulary, lowercase=True)), limit)

    def taught(self, words: Sequence[str], limit: int) -> tuple[Self, tuple[str, ...]]:
        """A tokenizer that reads these words as a piece each, up to `limit` tokens; and those that are new.

        Ids that were there stay, new ones follow them in the order of the words.
        """
        fields = json.loads(self.as_json())
        known = fields["model"]["vocab"]
        new = tuple(word for word in dict.fromkeys(words) if word not in known)
        known |= {word: self.highest + 1 + number for number, word in enumerate(new)}
        return type(self)(FastTokenizer.from_str(json.dumps(fields)), limit), new

    # ------------------------------------------------------------------- what another tokenizer does its way

    @classmethod
    def _check(cls, fast: FastTokenizer) -> None:
        """ValueError for a tokenizer of another kind."""
        for name in SPECIAL[:4]:
            if fast.token_to_id(name) is None:
                raise ValueError(f"this tokenizer has no {name} token; a BERT WordPiece vocabulary has")

    @staticmethod
    def _pad(fast: FastTokenizer) -> int:
        return int(fast.get_vocab()["[PAD]"])

    @classmethod
    def _published(cls, path: Path) -> FastTokenizer | None:
        """The tokenizer of a vocabulary in the form it is published in; None for another file."""
        if path.suffix != ".txt":
            return None
        vocabulary = _numbered(line.rstrip() for _, line in read_lines(path))
        return _plain(BertWordPieceTokenizer(vocabulary, lowercase=True))

    def _word(self, said: str) -> str:
        """A word as it is counted and taught: here in lower case, without accents."""
        return str(self._fast.normalizer.normalize_str(said)).strip()  # it puts spaces around a CJK letter

    # ------------------------------------------------------------------------------------------------ inside

    @property
    def _readable(self) -> int:
        """Characters of a text that are looked at: nobody reads what is longer, and it would cost time."""
        return self.limit * 200

    def _read(self, words: Normalised) -> Encoding:
        return self._fast.encode(words.text[: self._readable])

    def _cut(self, expression: str) -> Iterator[tuple[str, list[str]]]:
        """The words of an expression, and the pieces that each is read as."""
        words = normalised(expression)
        read = self._read(words)
        places: dict[int, list[int]] = {}
        for index, number in enumerate(read.word_ids[: self.limit]):
            if number is not None:
                places.setdefault(number, []).append(index)
        for indices in places.values():
            begin, end = read.offsets[indices[0]][0], read.offsets[indices[-1]][1]
            word = self._word(words.text[begin:end].strip())
            if word.isalnum():
                yield word, [read.tokens[index].removeprefix(self._WITHIN) for index in indices]

    def _encode(self, words: Normalised) -> tuple[list[int], bool]:
        """At most `limit` ids, and whether they are the whole text."""
        ids = list(self._read(words).ids)
        if len(ids) <= self.limit:
            return ids, len(words.text) <= self._readable
        return [*ids[: self.limit - 1], ids[-1]], False


def _words(plain: FastTokenizer, expressions: Iterable[str]) -> Counter[str]:
    """How often each word occurs, as the tokenizer cuts texts into words."""
    counts: Counter[str] = Counter()
    for expression in expressions:
        text = plain.normalizer.normalize_str(normalised(expression).text)
        counts.update(word for word, _ in plain.pre_tokenizer.pre_tokenize_str(text))
    return counts


def _numbered(pieces: Iterable[str]) -> dict[str, int]:
    return {piece: number for number, piece in enumerate(pieces)}


def _plain(wordpiece: BertWordPieceTokenizer) -> FastTokenizer:
    return FastTokenizer.from_str(wordpiece.to_str())
