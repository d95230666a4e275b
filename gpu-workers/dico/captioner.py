"""The captioner: grid features -> projection -> bidirectional encoder -> GPT-2 decoder.

The shape of arXiv:2408.14547, section 4, with every size in `CaptionerConfig`; its variants leave
the encoder out or decode as BERT does, for public captioners. The visual tower is not part of it:
it is frozen, and its features are computed once per image (`dico.tower`, `dico.towers`).

Axes: E images, N = E * K sequences (K per image, those of one image adjacent), S cells, T tokens,
P cached tokens, H heads, D head width, V vocabulary, d model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeyValue = tuple[Tensor, Tensor]
DecoderKind = Literal["gpt2", "bert"]


@dataclass(frozen=True)
class CaptionerConfig:
    """Sizes of the captioner; the defaults are those of the built-in model.

    Attributes:
        feature_tokens: Of the tower; rows of features behind them belong to the evaluator.
        encoder_layers: 0 leaves out the encoder with its positions: the decoder reads the
            projected features themselves.
        projected: Whether features pass a linear layer; otherwise the decoder's cross-attention,
            or the encoder, reads their own width.
        decoder: GPT-2's block, or BERT's with its head (BLIP).
        head_bias: Whether the vocabulary has a bias.
    """

    feature_width: int = 457
    feature_tokens: int = 64
    width: int = 192
    heads: int = 6
    encoder_layers: int = 2
    encoder_ffn: int = 384
    decoder_layers: int = 3
    decoder_ffn: int = 576
    vocab_size: int = 1024
    max_tokens: int = 34
    bos_id: int = 0
    eos_id: int = 1
    pad_id: int = 2
    projected: bool = True
    decoder: DecoderKind = "gpt2"
    head_bias: bool = False

    @property
    def encoder_width(self) -> int:
        """Width of encoder_hidden_states."""
        return self.width if self.projected else self.feature_width


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[N, T, d] -> [N, H, T, D]."""
    n, t, width = x.shape
    return x.view(n, t, heads, width // heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, heads merged again: [N, H, T, D] x [N, H, S, D] -> [N, T, H * D].

    Written out because it beats the fused kernel 1.6-1.9 times on CPU at these lengths.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


class EncoderLayer(nn.Module):
    """BERT's layer: normalisation after each residual, exact gelu."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.intermediate = nn.Linear(width, ffn)
        self.output = nn.Linear(ffn, width)
        self.output_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[E, S, d] -> [E, S, d]; mask, if given, broadcasts to [E, H, S, S]."""
        query, key, value = (
            split_heads(part, self.heads) for part in self.attention(x).chunk(3, dim=-1)
        )
        attended = self.attention_output(attend(query, key, value, mask))
        x = self.attention_norm(x + attended)
        return self.output_norm(x + self.output(F.gelu(self.intermediate(x))))


def decoder_eps(kind: DecoderKind) -> float:
    """What the normalisations of GPT-2 and of BERT add to the variance."""
    return 1e-12 if kind == "bert" else 1e-5


class DecoderLayer(nn.Module):
    """A block with cross-attention.

    GPT-2 normalises before each residual and takes the tanh gelu; BERT normalises after it and
    takes the exact one.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        width, eps = config.width, decoder_eps(config.decoder)
        self.heads = config.heads
        self.is_bert = config.decoder == "bert"
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attention = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.ln_cross = nn.LayerNorm(width, eps=eps)
        self.cross_query = nn.Linear(width, width)
        self.cross_key_value = nn.Linear(config.encoder_width, 2 * width)
        self.cross_output = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.intermediate = nn.Linear(width, config.decoder_ffn)
        self.output = nn.Linear(config.decoder_ffn, width)

    def cross_keys_values(self, encoder_hidden_states: Tensor) -> KeyValue:
        """[E, S, d] -> keys and values [E, H, S, D], computed once per image."""
        key, value = self.cross_key_value(encoder_hidden_states).chunk(2, dim=-1)
        # Laid out once as attention reads them; it would otherwise do so for every token.
        heads = self.heads
        return split_heads(key, heads).contiguous(), split_heads(value, heads).contiguous()

    def forward(
        self, x: Tensor, cross: KeyValue, past: KeyValue | None, mask: Tensor
    ) -> tuple[Tensor, KeyValue]:
        """[N, T, d] -> [N, T, d] and the self-attention's keys and values [N, H, P + T, D]."""
        bert = self.is_bert
        attended, present = self._self_attention(x if bert else self.ln_1(x), past, mask)
        x = self.ln_1(x + attended) if bert else x + attended
        attended = self._cross_attention(x if bert else self.ln_cross(x), cross)
        x = self.ln_cross(x + attended) if bert else x + attended
        inner = self.intermediate(x if bert else self.ln_2(x))
        inner = self.output(F.gelu(inner, approximate="none" if bert else "tanh"))
        return self.ln_2(x + inner) if bert else x + inner, present

    def _self_attention(
        self, x: Tensor, past: KeyValue | None, mask: Tensor
    ) -> tuple[Tensor, KeyValue]:
        query, key, value = (
            split_heads(part, self.heads) for part in self.attention(x).chunk(3, dim=-1)
        )
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        return self.attention_output(attend(query, key, value, mask)), (key, value)

    def _cross_attention(self, x: Tensor, cross: KeyValue) -> Tensor:
        # All K sequences of an image read the same keys: fold them into the query axis, E x K*T.
        n, t, width = x.shape
        images = cross[0].shape[0]
        query = self.cross_query(x).view(images, n // images * t, width)
        attended = attend(split_heads(query, self.heads), *cross).view(n, t, width)
        return self.cross_output(attended)


class Captioner(nn.Module):
    """Projection, encoder and decoder: everything that DiCO may train."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.projected:
            self.projection = nn.Linear(config.feature_width, width)
        if config.encoder_layers:
            self.encoder_positions = nn.Parameter(torch.randn(config.feature_tokens, width) * 0.02)
            self.encoder_norm = nn.LayerNorm(width, eps=1e-12)
        self.encoder_layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.encoder_ffn)
            for _ in range(config.encoder_layers)
        )
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.decoder_positions = nn.Parameter(torch.randn(config.max_tokens, width) * 0.02)
        if config.decoder == "bert":
            self.embedding_norm = nn.LayerNorm(width, eps=decoder_eps(config.decoder))
            self.head_transform = nn.Linear(width, width)
        self.decoder_layers = nn.ModuleList(
            DecoderLayer(config) for _ in range(config.decoder_layers)
        )
        self.ln_f = nn.LayerNorm(width, eps=decoder_eps(config.decoder))
        if config.head_bias:
            self.head_bias = nn.Parameter(torch.zeros(config.vocab_size))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def _decoder(self) -> list[DecoderLayer]:
        """The decoder layers with their type, which ModuleList does not keep."""
        return [layer for layer in self.decoder_layers if isinstance(layer, DecoderLayer)]

    def encode(self, features: Tensor) -> Tensor:
        """Tower features [E, S, feature_width] -> encoder_hidden_states [E, S, encoder_width]."""
        x = features[:, : self.config.feature_tokens]
        if self.config.projected:
            x = self.projection(x)
        if self.config.encoder_layers:
            x = self.encoder_norm(x + self.encoder_positions)
        for layer in self.encoder_layers:
            x = layer(x)
        return x

    def cross_cache(self, encoder_hidden_states: Tensor) -> list[KeyValue]:
        """Each decoder layer's cross-attention keys and values, [E, H, S, D]."""
        return [layer.cross_keys_values(encoder_hidden_states) for layer in self._decoder()]

    def decode_states(
        self,
        input_ids: Tensor,
        cross: list[KeyValue],
        past: list[KeyValue] | None = None,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Decoder states after the last normalisation, before the vocabulary.

        Args:
            input_ids: [N, T]; N a multiple of the images in `cross`.
            cross: From `cross_cache`.
            past: The second result of the previous call; None at the first.
            positions: Each token's place in its caption, [N, T]; None means one after the other.
            mask: Which tokens see which, broadcast to [N, H, T, P + T]; None means all before.

        Returns:
            States [N, T, d] and the grown key-value cache.
        """
        cached = 0 if past is None else past[0][0].shape[2]
        total = cached + input_ids.shape[1]
        in_order = torch.arange(total, device=input_ids.device)
        if positions is None:
            positions = in_order[cached:]
        if mask is None:
            mask = in_order[None, :] <= in_order[cached:, None]  # [T, P + T]
        x = self.token_embedding(input_ids) + self.decoder_positions[positions]
        if self.config.decoder == "bert":
            x = self.embedding_norm(x)
        present: list[KeyValue] = []
        for index, layer in enumerate(self._decoder()):
            x, key_value = layer(x, cross[index], None if past is None else past[index], mask)
            present.append(key_value)
        if self.config.decoder == "bert":
            x = F.gelu(self.head_transform(x))
        return self.ln_f(x), present

    def logits(self, states: Tensor) -> Tensor:
        """[..., d] -> [..., V], by the tied embedding."""
        scores = states @ self.token_embedding.weight.T
        return scores + self.head_bias if self.config.head_bias else scores

    def forward(self, features: Tensor, input_ids: Tensor) -> Tensor:
        """Teacher-forced logits: features [E, S, F], input_ids [N, T] -> [N, T, V]."""
        states, _ = self.decode_states(input_ids, self.cross_cache(self.encode(features)))
        return self.logits(states)


def pad_captions(captions: list[list[int]], config: CaptionerConfig) -> tuple[Tensor, Tensor]:
    """Token lists without BOS and EOS to teacher-forcing tensors.

    Returns:
        input_ids [N, T] = BOS w1 .. wn PAD .., and labels [N, T] = w1 .. wn EOS PAD ..; a label
        equal to PAD counts nowhere.
    """
    longest = max(len(tokens) for tokens in captions) + 1
    input_ids = torch.full((len(captions), longest), config.pad_id)
    labels = input_ids.clone()
    for row, tokens in enumerate(captions):
        input_ids[row, : len(tokens) + 1] = torch.tensor([config.bos_id, *tokens])
        labels[row, : len(tokens) + 1] = torch.tensor([*tokens, config.eos_id])
    return input_ids, labels


def token_logps(logits: Tensor, labels: Tensor, pad_id: int) -> Tensor:
    """Log-probability of each label in fp32, 0 where the label is PAD: [N, T, V] -> [N, T]."""
    logits = logits.float()
    picked = logits.gather(-1, labels[..., None]).squeeze(-1) - logits.logsumexp(dim=-1)
    return picked.masked_fill(labels == pad_id, 0.0)
