"""RoBERTa's byte-level BPE, which keeps case."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from groundling.words.text import normalised
from groundling.words.wordpiece import Tokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
PAD = 1  # RoBERTa's index of <pad>; its positions begin behind it, at 2


class ByteTokenizer(Tokenizer):
    """RoBERTa's byte-level BPE: `<s> … </s>`, at most `limit` tokens; every text can be spelled."""

    _ENDS = ("<s>", "</s>")
    _UNKNOWN = "<unk>"
    _WITHIN = "Ġ"  # how byte-level pieces write the space before a word
    _FILES = "a tokenizer.json or RoBERTa's vocab.json with merges.txt beside it"

    @classmethod
    def _check(cls, fast: FastTokenizer) -> None:
        if fast.token_to_id("<pad>") != PAD:
            raise ValueError(f"this tokenizer has no <pad> at {PAD}, as RoBERTa's byte-level BPE has")

    @staticmethod
    def _pad(fast: FastTokenizer) -> int:
        return PAD

    @classmethod
    def _published(cls, path: Path) -> FastTokenizer | None:
        if path.name != "vocab.json":
            return None
        return _byte_level(models.BPE.from_file(str(path), str(path.with_name("merges.txt"))))

    def _word(self, said: str) -> str:
        return said

    def taught(self, words: Sequence[str], limit: int) -> tuple[Self, tuple[str, ...]]:
        """The same pieces: byte pairs spell every word, and new pairs would cut other words anew."""
        return type(self).from_json(self.as_json(), limit), ()

    @classmethod
    def train(cls, expressions: Iterable[str], size: int, limit: int) -> Self:
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
        trained.train_from_iterator((normalised(text).text for text in expressions), trainer)
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
