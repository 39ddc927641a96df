"""RoBERTa's byte-level BPE, which keeps case and character offsets."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Encoding, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as FastTokenizer

from groundling.words.wordpiece import Tokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PAD = 1  # RoBERTa's index of <pad>; its positions begin behind it, at 2
_SPACE = "Ġ"  # how byte-level pieces write the space before a word


class ByteTokenizer(Tokenizer):
    """RoBERTa's byte-level BPE: `<s> … </s>`, at most `limit` tokens; every text can be spelled.

    Unlike WordPiece it reads the text as it is given, so that `offsets` are characters of it.
    """

    def __init__(self, fast: FastTokenizer, limit: int) -> None:
        if limit < 3:
            raise ValueError(f"a token limit of {limit} leaves no room for words; give at least 3")
        # Published tokenizer files may cut and pad by themselves, which would hide long captions.
        fast.no_truncation()
        fast.no_padding()
        fast.encode_special_tokens = True  # nobody types </s> into a model
        if fast.encode("").tokens != ["<s>", "</s>"]:
            raise ValueError("this tokenizer does not put words between <s> and </s>; RoBERTa's does")
        if fast.token_to_id("<pad>") != PAD:
            raise ValueError(f"this tokenizer has no <pad> at {PAD}; RoBERTa's byte-level BPE has")
        self._fast, self.limit, self.pad = fast, limit, PAD
        self.highest = max(fast.get_vocab().values())

    def offsets(self, text: str) -> tuple[tuple[int, int], ...]:
        """The characters [begin, end) of each token of a text; (0, 0) for `<s>` and `</s>`.

        ValueError for a text of more tokens than the limit: phrases at its end would be nowhere.
        """
        offsets = tuple(self._whole(text).offsets)
        if len(offsets) > self.limit or len(text) > self._readable:
            raise ValueError(
                f"a text of {len(offsets)} tokens is too long for a model that reads {self.limit}: "
                f"{' '.join(text.split()[:8])[:80]} …"
            )
        return offsets

    def spelled(self, expression: str) -> tuple[str, ...]:
        """Words that have no piece longer than a letter: known only where a training had them."""
        text = expression[: self._readable]
        read = self._whole(text)
        places: dict[int, list[int]] = {}
        for index, number in enumerate(read.word_ids[: self.limit]):
            if number is not None:
                places.setdefault(number, []).append(index)
        found = []
        for indices in places.values():
            pieces = [read.tokens[index].removeprefix(_SPACE) for index in indices]
            word = text[read.offsets[indices[0]][0] : read.offsets[indices[-1]][1]].strip()
            if len(word) > 1 and word.isalnum() and all(len(piece) <= 1 for piece in pieces):
                found.append(word)
        return tuple(found)

    @property
    def _readable(self) -> int:
        """Characters of a text that are looked at: nobody reads what is longer, and it would cost time."""
        return self.limit * 200

    def _encode(self, expression: str) -> tuple[list[int], bool]:
        """At most `limit` ids, and whether they are the whole expression; none where it has no words."""
        if not expression.strip():
            return [], True
        ids = list(self._whole(expression).ids)
        if len(ids) <= self.limit:
            return ids, len(expression) <= self._readable
        return [*ids[: self.limit - 1], ids[-1]], False

    def _whole(self, text: str) -> Encoding:
        try:
            return self._fast.encode(text[: self._readable])
        except TypeError as error:  # the library takes a str with half a surrogate pair for none
            raise ValueError(f"text {text[:80]!r} is not valid Unicode") from error

    @classmethod
    def load(cls, path: Path, limit: int) -> "ByteTokenizer":
        """A `tokenizer.json`, or RoBERTa's `vocab.json` with `merges.txt` beside it."""
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer at {path}; a tokenizer.json or RoBERTa's vocab.json fits")
        try:
            if path.name == "vocab.json":
                merges = path.with_name("merges.txt")
                return cls(_byte_level(models.BPE.from_file(str(path), str(merges))), limit)
            return cls(FastTokenizer.from_file(str(path)), limit)
        except ValueError:
            raise
        except Exception as error:  # the Rust side raises bare Exception
            raise ValueError(f"{path} is not a tokenizer: {error}") from error

    @classmethod
    def train(cls, expressions: Iterable[str], size: int, limit: int) -> "ByteTokenizer":
        """Byte pairs by how often they occur, after the 256 bytes: at most `size` pieces.

        The same expressions in any order give the same vocabulary.
        """
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if size < len(SPECIAL) + len(alphabet):
            raise ValueError(
                f"a vocabulary of {size} is too small; it starts with {len(SPECIAL) + len(alphabet)} "
                "bytes and signs"
            )
        trained = FastTokenizer(models.BPE())
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        )
        trained.train_from_iterator(expressions, trainer)
        learned = json.loads(trained.to_str())["model"]
        merges = [tuple(pair) for pair in learned["merges"]]
        return cls(_byte_level(models.BPE(learned["vocab"], merges)), limit)


def _byte_level(bpe: models.BPE) -> FastTokenizer:
    """RoBERTa's tokenizer around its pairs."""
    fast = FastTokenizer(bpe)
    fast.add_special_tokens(list(SPECIAL))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    ids = fast.get_vocab()
    fast.post_processor = processors.RobertaProcessing(
        ("</s>", ids["</s>"]), ("<s>", ids["<s>"]), trim_offsets=True, add_prefix_space=False
    )
    return fast
