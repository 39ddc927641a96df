"""BERT as text encoder, and what it shares with RoBERTa.

Shapes: E expressions, L tokens, D channels; padding (E, L) is True where there is no token.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from groundling.layers.fused import adopt
from groundling.layers.macs import TEXT, Count, attention, linear_map
from groundling.words.tokens import Tokens


class TextConfig(BaseModel):
    """BERT's sizes; the defaults are bert-base-uncased cut to LADS' six layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(30_522, gt=0, le=1_000_000)
    layers: int = Field(6, gt=0, le=100)
    dim: int = Field(768, gt=0, le=8192)
    heads: int = Field(12, gt=0, le=256)
    ffn: int = Field(3072, gt=0, le=65_536)
    tokens: int = Field(40, ge=3, le=512)  # BERT has 512 positions
    dropout: float = Field(0.1, ge=0, lt=1)
    # Each token also says what it is without its neighbours: sentence encoders make "left" and "right" alike.
    bare: bool = False

    @property
    def features(self) -> int:
        """Channels that a token has when it has been read."""
        return 2 * self.dim if self.bare else self.dim

    @model_validator(mode="after")
    def _divides(self) -> "TextConfig":
        if self.dim % self.heads:
            raise ValueError(f"text.dim {self.dim} must be a multiple of text.heads, {self.heads}")
        return self


class TextEncoder(nn.Module):
    """The first layers of BERT: ids (E, L) → features (E, L, D). Keys are HF's below `bert.`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        self.config = config
        self.bert = adopt(BertModel(BertConfig(**hf_sizes(config)), add_pooling_layer=False))

    def forward(self, tokens: Tokens) -> Tensor:
        """Features (E, L, D) of the last layer; those of padding mean nothing.

        Where the configuration says `bare`, the token's own normed embedding stands behind: (E, L, 2·D).
        """
        found = features(self.bert, tokens)
        if not self.config.bare:
            return found
        own: Any = self.bert
        bare = own.embeddings.word_embeddings(tokens.ids)
        return torch.cat((found, F.layer_norm(bare, bare.shape[-1:]).to(found.dtype)), dim=-1)

    def macs(self) -> Count:
        """MACs of a text."""
        return encoder_macs(self.config)


def encoder_macs(config: TextConfig) -> Count:
    """MACs of a text through an encoder of these sizes."""
    dim, ffn = config.dim, config.ffn
    return (linear_map(TEXT, dim, 4 * dim + 2 * ffn) + attention(TEXT, TEXT, dim)) * config.layers


def hf_sizes(config: TextConfig) -> dict[str, Any]:
    """The sizes of an encoder as transformers names them."""
    return {
        "vocab_size": config.vocabulary,
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "attn_implementation": "sdpa",
    }


def features(encoder: nn.Module, tokens: Tokens, positions: Tensor | None = None) -> Tensor:
    """What an encoder of transformers says of tokens, (E, L, D); it counts positions that are not given."""
    if not encoder.training and not torch.is_grad_enabled():
        return _answered(encoder, tokens, positions)
    mask = (~tokens.padding).long() if tokens.padded else None
    found: Tensor = encoder(
        input_ids=tokens.ids, attention_mask=mask, position_ids=positions
    ).last_hidden_state
    return found


def _answered(encoder: nn.Module, tokens: Tokens, positions: Tensor | None) -> Tensor:
    """The same without what training needs: the library's way through small layers takes twice as long."""
    own: Any = encoder
    shown = own.embeddings
    if positions is None:
        positions = shown.position_ids[:, : tokens.ids.shape[1]]
    x = shown.word_embeddings(tokens.ids) + shown.token_type_embeddings.weight[0]
    x = shown.LayerNorm(x + shown.position_embeddings(positions))
    keep = None
    if tokens.padded:
        keep = ~tokens.padding[:, None, None].expand(-1, -1, x.shape[1], -1)
    for layer in own.encoder.layer:
        x = _layer(layer, x, keep)
    return x  # type: ignore[no-any-return]


def _layer(layer: Any, x_ELD: Tensor, keep: Tensor | None) -> Tensor:
    """BERT's encoder layer: attention and feed-forward, each added to what it read and normed."""
    asking, said, output = layer.attention.self, layer.attention.output, layer.output
    query, key, value = (
        part(x_ELD).unflatten(-1, (asking.num_attention_heads, -1)).transpose(1, 2)
        for part in (asking.query, asking.key, asking.value)
    )
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=keep)
    x_ELD = said.LayerNorm(said.dense(seen.transpose(1, 2).flatten(2)) + x_ELD)
    found: Tensor = output.LayerNorm(output.dense(F.gelu(layer.intermediate.dense(x_ELD))) + x_ELD)
    return found
