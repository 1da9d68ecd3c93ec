"""Write tiny GGUF files with golden values: what the converter's GGUF reader is held against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy
import torch
from gguf import GGUFEndian, GGUFReader, GGUFWriter, TokenType
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from toast.checkpoint import load_model
from toast.files import write_atomically, write_json
from toast.gguf_file import READABLE_TYPES, gguf_name, pairs_of_heads
from toast.hashing import backbone_hash
from toast.llama import LlamaConfig, LlamaForCausalLM
from toast.settings import command, run_command
from toast.tokenizer import load_tokenizer

DESCRIPTION = """\
Write to OUT:
  blocks.gguf, blocks.safetensors    random blocks of every type that is read, and what the gguf package makes of them
  tied.gguf, factors.gguf            tiny random decoders: tied embeddings and a type of its own for each weight; rotary
                                     factors, biases, heads that do not make up the width, two parts
  tied.safetensors, …                their logits (T, V) in float32 for fixed ids, from the dequantized weights
  hashes.json                        their backbone hashes

example:
  python write_gguf_golden.py --tokenizer ../test/tiny/tokenizer --out ../test/convert/gguf
"""

BLOCK_ROWS, BLOCK_COLUMNS = 12, 256
TOKENS = 24
# Where a block's half-precision numbers lie: they have to be finite. F16 is all halves.
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
# Zero, minus zero, the smallest, the largest below the normal ones, one, the largest, the last two negative as well.
ODD_HALVES = (0x0000, 0x8000, 0x0001, 0x03FF, 0x3C00, 0x7BFF, 0x8001, 0xFBFF)

TIED = LlamaConfig(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=256,
    rope_theta=100000.0,
    tie_word_embeddings=True,
    initializer_range=0.15,
)


@dataclass(frozen=True)
class Variant:
    config: LlamaConfig
    seed: int
    # Type of a weight, by the last part of its GGUF name; F32 where none is named.
    types: dict[str, str]
    rope_factors: tuple[float, ...] = ()
    linear_factor: float = 1.0
    parts: int = 1


VARIANTS = {
    "tied": Variant(
        TIED,
        seed=1,
        types={
            "token_embd": "Q8_0",
            "attn_q": "Q4_1",
            "attn_k": "Q5_0",
            "attn_v": "Q4_0",
            "attn_output": "F16",
            "ffn_gate": "Q5_1",
            "ffn_up": "BF16",
            "ffn_down": "Q8_0",
        },
    ),
    "factors": Variant(
        replace(TIED, hidden_size=48, head_dim=10, tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
        seed=2,
        types={"token_embd": "F16", "output": "F16", "attn_q": "BF16"},
        rope_factors=(1.0, 1.0, 1.7, 4.0, 8.0),
        linear_factor=2.0,
        parts=2,
    ),
}


def random_blocks(type_name: str, generator: numpy.random.Generator) -> numpy.ndarray:
    """Raw bytes (rows, bytes of a row) of a type, with finite scales and some odd ones among them."""
    block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[type_name]]
    blocks = BLOCK_ROWS * BLOCK_COLUMNS // block_size
    if type_name in ("F32", "F16", "BF16"):
        whole = {"F32": numpy.uint32, "F16": numpy.uint16, "BF16": numpy.uint16}[type_name]
        exponent = {"F32": 0x7F800000, "F16": 0x7C00, "BF16": 0x7F80}[type_name]
        bits = generator.integers(0, numpy.iinfo(whole).max, blocks, dtype=whole, endpoint=True)
        bits[(bits & exponent) == exponent] &= whole(~exponent & numpy.iinfo(whole).max)
        return bits.view(numpy.uint8).reshape(BLOCK_ROWS, -1)
    raw = generator.integers(0, 256, (blocks, block_bytes), dtype=numpy.uint8)
    for at in HALVES[type_name]:
        halves = generator.integers(0, 0x7C00, blocks, dtype=numpy.uint16)
        halves |= generator.integers(0, 2, blocks, dtype=numpy.uint16) << numpy.uint16(15)
        if blocks > len(ODD_HALVES):
            halves[: len(ODD_HALVES)] = generator.permutation(numpy.array(ODD_HALVES, dtype=numpy.uint16))
        raw[:, at : at + 2] = halves.reshape(-1, 1).view(numpy.uint8)
    return raw.reshape(BLOCK_ROWS, -1)


def write_blocks(out: Path) -> None:
    generator = numpy.random.default_rng(14)
    writer = GGUFWriter(out / "blocks.gguf", "llama", endianess=GGUFEndian.LITTLE)
    values: dict[str, Tensor] = {}
    for name in READABLE_TYPES:
        raw = random_blocks(name, generator)
        kind = GGMLQuantizationType[name]
        writer.add_tensor(name, raw, raw_dtype=kind)
        values[name] = torch.from_numpy(numpy.array(dequantize(raw, kind)))
        assert values[name].shape == (BLOCK_ROWS, BLOCK_COLUMNS)
        assert values[name].isfinite().all()
    _finish(writer)
    write_atomically(out / "blocks.safetensors", lambda path: save_file(values, path))


def write_decoder(name: str, out: Path, tokenizer: Tokenizer) -> str:
    """Write one variant with its logits; returns its backbone hash."""
    variant = VARIANTS[name]
    writer = decoder_writer(variant, tokenizer, out / f"{name}.gguf", name)
    _finish(writer)
    path = out / (f"{name}.gguf" if variant.parts == 1 else f"{name}-00001-of-{variant.parts:05d}.gguf")
    model = load_model(path).eval()
    generator = torch.Generator().manual_seed(variant.seed)
    ids = torch.randint(3, variant.config.vocab_size, (1, TOKENS), generator=generator)  # (1, T)
    with torch.no_grad():
        logits = model(ids)[0]  # (T, V)
    values = {"ids": ids[0], "logits": logits.contiguous()}
    write_atomically(out / f"{name}.safetensors", lambda target: save_file(values, target))
    return backbone_hash(path)


def decoder_writer(variant: Variant, tokenizer: Tokenizer, path: Path, name: str) -> GGUFWriter:
    """A writer with all that makes the variant, as llama.cpp's converter lays it out."""
    config = variant.config
    model = LlamaForCausalLM(config).initialize(torch.Generator().manual_seed(variant.seed))
    noise = torch.Generator().manual_seed(variant.seed + 100)
    tensors = len(model.state_dict()) + 1
    per_part = -(-tensors // variant.parts) if variant.parts > 1 else 0
    writer = GGUFWriter(path, "llama", endianess=GGUFEndian.LITTLE, split_max_tensors=per_part)
    writer.add_name(name)
    writer.add_license("cc0-1.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if variant.linear_factor != 1.0:
        writer.add_rope_scaling_factor(variant.linear_factor)
    _add_tokenizer(writer, tokenizer)
    if variant.rope_factors:
        writer.add_tensor("rope_freqs.weight", numpy.array(variant.rope_factors, dtype=numpy.float32))
    for hugging_face_name, parameter in model.state_dict().items():
        if config.tie_word_embeddings and hugging_face_name == "lm_head.weight":
            continue
        values = parameter.clone()
        if values.dim() == 1:  # gains and biases, which say nothing while they are ones and zeros
            values += 0.2 * torch.randn(values.shape, generator=noise)
        stored = gguf_name(hugging_face_name)
        if ".attn_q." in stored:
            values = pairs_of_heads(values, config.num_attention_heads)
        if ".attn_k." in stored:
            values = pairs_of_heads(values, config.num_key_value_heads)
        part = stored.split(".")[-2]
        kind = GGMLQuantizationType[variant.types.get(part, "F32") if values.dim() == 2 else "F32"]
        writer.add_tensor(stored, quantize(values.numpy(), kind), raw_dtype=kind)
    return writer


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    special = {0: TokenType.UNKNOWN, 1: TokenType.CONTROL, 2: TokenType.CONTROL}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(pieces)
    writer.add_token_scores([float(-index) for index in range(len(pieces))])
    writer.add_token_types(
        [
            special.get(index, TokenType.BYTE if piece.startswith("<0x") else TokenType.NORMAL)
            for index, piece in enumerate(pieces)
        ]
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder whose tokens the decoders have")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(arguments.tokenizer)
    write_blocks(arguments.out)
    hashes = {name: write_decoder(name, arguments.out, tokenizer) for name in VARIANTS}
    write_json(arguments.out / "hashes.json", hashes)
    for path in sorted(arguments.out.glob("*.gguf")):
        print(f"{path} ({len(GGUFReader(path).tensors)} tensors)")


if __name__ == "__main__":
    run_command(main)
