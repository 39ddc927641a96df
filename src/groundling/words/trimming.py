"""A published WordPiece vocabulary cut down to the pieces that some texts use, and those that spell the rest.

Of BERT's 30,522 pieces phrases about photographs use a fifth; the others take most of a small encoder's room.
"""

import json
from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer as FastTokenizer

from groundling.words.text import normalised
from groundling.words.wordpiece import SPECIAL, Tokenizer


def trimmed(tokenizer: Tokenizer, texts: Iterable[str], size: int) -> tuple[Tokenizer, tuple[int, ...]]:
    """A tokenizer of at most `size` pieces, and the id that each of them had, in the order of the new ids.

    Kept are the special tokens, every single character, the pieces that the texts use, the most frequent
    first, and while there is room the whole words with the lowest ids, which are the most frequent ones of
    what the vocabulary was made from. ValueError where not even the first two have room.
    """
    fields = json.loads(tokenizer.as_json())
    known: dict[str, int] = fields["model"]["vocab"]
    spelling = [piece for piece in known if len(piece.removeprefix("##")) == 1 and piece.isascii()]
    kept = dict.fromkeys([*(name for name in SPECIAL if name in known), *spelling])
    if len(kept) > size:
        raise ValueError(f"{size} pieces are too few: {len(kept)} spell what the others do not say")
    fast = FastTokenizer.from_str(json.dumps(fields))
    fast.no_truncation()
    counts: Counter[str] = Counter()
    for read in fast.encode_batch([normalised(text).text for text in texts], add_special_tokens=False):
        counts.update(read.tokens)
    used = sorted(counts, key=lambda piece: (-counts[piece], known[piece]))
    frequent = sorted(
        (piece for piece in known if piece.isascii() and piece.isalpha()), key=known.__getitem__
    )
    kept |= dict.fromkeys([*used, *frequent])
    pieces = sorted(list(kept)[:size], key=known.__getitem__)
    before = tuple(known[piece] for piece in pieces)
    fields["model"]["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    _renumber(fields, fields["model"]["vocab"])
    return Tokenizer(FastTokenizer.from_str(json.dumps(fields)), tokenizer.limit), before


def _renumber(fields: dict[str, object], vocabulary: dict[str, int]) -> None:
    """The ids of special tokens that a tokenizer.json repeats."""
    for added in fields.get("added_tokens") or []:  # type: ignore[attr-defined]
        added["id"] = vocabulary[added["content"]]
    processor = fields.get("post_processor")
    if isinstance(processor, dict):
        for name in ("sep", "cls"):
            if name in processor:
                processor[name][1] = vocabulary[processor[name][0]]
        for special in (processor.get("special_tokens") or {}).values():
            special["ids"] = [vocabulary[token] for token in special["tokens"]]
