"""Which tokenizer a file holds, and which one a text encoder reads with."""

import json
from pathlib import Path

from groundling.words.bert import TextConfig
from groundling.words.byte_pairs import ByteTokenizer
from groundling.words.roberta import RobertaTextConfig
from groundling.words.wordpiece import Tokenizer


def read_tokenizer(path: Path, limit: int) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`, WordPiece or byte-level BPE, whichever it holds."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # the loader says what is wrong with it
        text = ""
    return tokenizer_class(text).load(path, limit)


def tokenizer_class(text: str) -> type[Tokenizer]:
    """What reads the content of this `tokenizer.json`; WordPiece's where it says nothing that we know."""
    try:
        kind = json.loads(text)["model"]["type"]
    except (ValueError, KeyError, TypeError):
        kind = None
    return ByteTokenizer if kind == "BPE" else Tokenizer


def tokenizer_for(text: TextConfig) -> type[Tokenizer]:
    """What a text encoder of this configuration reads with."""
    return ByteTokenizer if isinstance(text, RobertaTextConfig) else Tokenizer
