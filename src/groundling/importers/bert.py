"""A published BERT comes in: its first layers, its tokenizer, and where there is little room fewer words."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch

from groundling.checkpoint import fit, locate, read_json
from groundling.importers.files import WEIGHTS, Source, read, source_file
from groundling.importers.wheels import wheel
from groundling.words.bert import TextEncoder
from groundling.words.trimming import trimmed
from groundling.words.wordpiece import Tokenizer

TOKENIZERS = ("tokenizer.json", "vocab.txt")
BERT_FILES = ("config.json", *WEIGHTS, "tokenizer_config.json", *TOKENIZERS)


def load_bert(
    text: TextEncoder, source: Source, *, download: bool = False, texts: Iterable[str] = ()
) -> Tokenizer:
    """The first layers of a BERT from a folder as `transformers` saves them; returns the tokenizer in it.

    A vocabulary that is larger than the text encoder's is trimmed to what `texts` use, where there are some.
    ValueError where its sizes are not those of the text encoder, naming both.
    """
    source, texts = wheel(source), list(texts)
    folder = locate(source, download=download, files=BERT_FILES)
    file = source_file(folder, download=False)
    _check_sizes(text, folder / "config.json", trims=bool(texts))
    tokenizer, kept = bert_tokenizer(folder, text.config.tokens), None
    if texts and len(tokenizer) > text.config.vocabulary:
        tokenizer, kept = trimmed(tokenizer, texts, text.config.vocabulary)
    if len(tokenizer) > text.config.vocabulary:
        raise ValueError(
            f"{folder} has {len(tokenizer)} word pieces, and the model room for {text.config.vocabulary}"
        )
    tensors = {_bert_name(name): tensor for name, tensor in read(file)[0].items()}
    if kept is not None:
        rows = tensors["embeddings.word_embeddings.weight"][torch.tensor(kept)]
        spare = text.config.vocabulary - len(rows)
        tensors["embeddings.word_embeddings.weight"] = torch.cat((rows, rows.new_zeros(spare, rows.shape[1])))
    depths = {int(found[1]) for name in tensors if (found := re.match(r"encoder\.layer\.(\d+)\.", name))}
    deeper = [f"encoder.layer.{depth}." for depth in depths if depth >= text.config.layers]
    fit(text.bert, tensors, file, discard=("pooler.", "cls.", "embeddings.position_ids", *deeper))
    return tokenizer


def _bert_name(name: str) -> str:
    """Without the `bert.` of task models; TensorFlow's gamma and beta of a norm are weight and bias."""
    name = name.removeprefix("bert.")
    return re.sub(
        r"LayerNorm\.(gamma|beta)$", lambda m: f"LayerNorm.{'weight' if m[1] == 'gamma' else 'bias'}", name
    )


def _check_sizes(text: TextEncoder, file: Path, trims: bool = False) -> None:
    given, own, bert = read_json(file), text.config, text.bert.config
    wanted = {
        "model_type": ("", "bert"),
        "hidden_size": ("dim=", own.dim),
        "num_attention_heads": ("heads=", own.heads),
        "intermediate_size": ("ffn=", own.ffn),
        "vocab_size": ("vocabulary=", own.vocabulary),
        "max_position_embeddings": ("", bert.max_position_embeddings),
        "hidden_act": ("", bert.hidden_act),
        "layer_norm_eps": ("", bert.layer_norm_eps),
    }
    odd = [
        f"{name} {given[name]} where the text encoder has {option}{value}"
        for name, (option, value) in wanted.items()
        if name in given and given[name] != value and not (trims and name == "vocab_size")
    ]
    if given.get("num_hidden_layers", own.layers) < own.layers:
        odd.append(
            f"num_hidden_layers {given['num_hidden_layers']} where the text encoder has layers={own.layers}"
        )
    if odd:
        raise ValueError(f"{file} holds the weights of another model: {'; '.join(odd)}")


def bert_tokenizer(source: Source, limit: int, download: bool = False) -> Tokenizer:
    """The tokenizer of a BERT, from a folder as `transformers` saves them or a hub id."""
    folder = Path(source)
    if not folder.is_dir():
        try:
            folder = locate(source, download=download, files=("tokenizer_config.json", *TOKENIZERS))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"no tokenizer at {source}; give a folder, or a hub id with download=True"
            ) from None
    for name in TOKENIZERS:
        if (folder / name).is_file():
            break
    else:
        raise FileNotFoundError(f"no tokenizer in {folder}; it should hold {' or '.join(TOKENIZERS)}")
    settings = folder / "tokenizer_config.json"
    if name == "vocab.txt" and settings.is_file() and not read_json(settings).get("do_lower_case", True):
        raise ValueError(
            f"{folder} has a cased vocab.txt, which would be read in lower case; give a tokenizer.json"
        )
    return Tokenizer.load(folder / name, limit)
