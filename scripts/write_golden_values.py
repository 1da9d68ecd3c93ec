"""Write tiny model folders with adapters and golden values: what other implementations are held against."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from toast.adapter_file import AdapterFacts, save_adapter
from toast.checkpoint import load_model, save_model
from toast.control_vectors import VectorUse, generate_with_vectors, layer_outputs, stack_additions
from toast.files import write_atomically, write_json
from toast.generate import generate_plain, generate_steered
from toast.hashing import backbone_hash
from toast.llama import LlamaConfig, LlamaForCausalLM, RopeScaling
from toast.settings import command, run_command
from toast.steering import Features, SteeredModel, SteeringAdapter
from toast.tokenizer import BEGIN, END, load_tokenizer

DESCRIPTION = """\
Write tiny model folders (random weights, real shapes), each with an adapter and golden.safetensors: logits, hidden
states, relevance and top-down values of both passes in float32, and 64 greedy tokens with the logits they were chosen
from; the same with two control vectors, alone and over the adapter. Also tokenizer_oracle.json: strings with the ids
and the decoded text of the Python tokenizers library.

Seeds are fixed, and were searched (--search) so that the golden values can tell right from wrong: the best token leads
the second by more than 0.01 at every greedy step, the text does not run in place, and relevance is mixed.

The tokenizer is read from OUT/tokenizer; it was made by train_tokenizer.py --vocab-size 512.

example:
  python write_golden_values.py --out ../test/tiny
"""

PROMPT = (
    "The river rises in the hills above the town, and in 1894 it flooded every street. "
    "People still tell the story to their children."
)
GREEDY_TOKENS = 64
SMALLEST_GAP = 1e-2
FEWEST_DISTINCT = 16
TOP_TOKENS = 5

SHARED = LlamaConfig(
    vocab_size=512,
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=12,
    max_position_embeddings=512,
)


@dataclass(frozen=True)
class Variant:
    """A folder to write: its shape, the seed its weights come from, and how it lies on disk."""

    config: LlamaConfig
    seed: int
    dtype: torch.dtype = torch.float32
    shards: int = 1
    lite: bool = False
    features: Features = "raw"
    vector_seed: int = 0
    newer_config: bool = False  # rope_parameters instead of rope_theta and rope_scaling


VARIANTS = {
    "mha": Variant(SHARED, seed=1, vector_seed=6),
    "gqa": Variant(
        replace(SHARED, hidden_size=64, num_key_value_heads=2, head_dim=16), seed=8, dtype=torch.bfloat16, vector_seed=2
    ),
    "tied": Variant(
        replace(
            SHARED,
            hidden_size=64,
            head_dim=16,
            tie_word_embeddings=True,
            rope_scaling=RopeScaling(kind="linear", factor=2.0),
        ),
        seed=7,
        vector_seed=2,
        shards=2,
        newer_config=True,
    ),
    "llama3-rope": Variant(
        replace(
            SHARED,
            num_key_value_heads=2,
            attention_bias=True,
            rope_theta=500000.0,
            rope_scaling=RopeScaling(
                kind="llama3",
                factor=4.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        seed=46,
        vector_seed=7,
    ),
    "head-dim-8": Variant(replace(SHARED, hidden_size=40, num_key_value_heads=2, head_dim=8), seed=8, lite=True),
    "hidden-64-ffn-172": Variant(
        replace(
            SHARED,
            hidden_size=64,
            intermediate_size=172,
            num_key_value_heads=1,
            head_dim=16,
            tie_word_embeddings=True,
        ),
        seed=11,
        vector_seed=1,
    ),
    "unit-rms": Variant(
        replace(SHARED, hidden_size=40, num_key_value_heads=2, head_dim=8), seed=6, features="unit_rms", vector_seed=1
    ),
}

ORACLE_TEXTS = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "a",
    "Hello, world!",
    " Hello",
    "  two spaces before",
    "two spaces  between",
    "three   spaces",
    "space after ",
    "tab\tbetween",
    "line one\nline two",
    "line one\r\nline two",
    "\n\nafter two breaks",
    " \n space, break, space",
    "It's the user's \"quoted\" text — isn't it?",
    "1234567890",
    "In 1894, 3.14 and -42 were 100% fine.",
    "naïve café, Übergröße, señor, Øresund",
    "Ελληνικά και Русский язык",
    "日本語のテキスト、中文字符",
    "한국어 문장입니다.",
    "العربية من اليمين إلى اليسار",
    "हिन्दी में लिखा",
    "😀 smile, 👩‍👩‍👧 family, 🇫🇷 flag",
    "e\u0301 combining, \u200b zero width, \u00a0 no-break",
    "def add(a: int, b: int) -> int:\n    return a + b\n",
    "for (let i = 0; i < n; i++) { console.log(`${i}`); }",
    "SELECT * FROM t WHERE x >= 10 AND y != 'z';",
    "<0x0A> is written out, and so is <0xFF>",
    "a lower ▁ block ▁▁ stays a space",
    "https://example.org/path?query=1&other=two#part",
    "### Instruction:\nName three fruits.\n\n### Response:\n",
    "USER: What is the capital of France? ASSISTANT:",
    "ANTIDISESTABLISHMENTARIANISM antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "math: ∑ ∞ ≠ √2 ≈ 1.414…",
    "\ufeffbyte order mark and \ufffd replacement",
    "mixed 12ab34 cd56,78 — 9a",
    "The quick brown fox jumps over the lazy dog.",
]


def random_model(config: LlamaConfig, generator: torch.Generator) -> LlamaForCausalLM:
    """Weights that keep activations at a size of about one and logits a few units wide."""
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.3, generator=generator)
            elif parameter.dim() == 1:  # norms
                parameter.uniform_(0.7, 1.3, generator=generator)
            elif "embed_tokens" in name:
                # Tied rows also read the output, where a large row would only ever repeat its own token.
                parameter.normal_(0.0, 0.35 if config.tie_word_embeddings else 1.0, generator=generator)
            else:
                gain = 2.5 if "lm_head" in name else 1.6
                parameter.normal_(0.0, gain * parameter.shape[1] ** -0.5, generator=generator)
    return model


def random_adapter(model: LlamaForCausalLM, ids: Tensor, generator: torch.Generator, lite: bool) -> SteeringAdapter:
    """An adapter for which some tokens of ``ids`` (1, T) matter and some do not."""
    config = model.config
    adapter = SteeringAdapter(config.hidden_size, config.num_hidden_layers)
    adapter.initialize(0.8 * config.hidden_size**-0.5, generator)
    with torch.no_grad():
        outputs = torch.nn.functional.normalize(model.model.bottom_up(model.embed(ids))[0], dim=-1)  # (T, D)
        adapter.task_embedding.mul_(0.5).add_(4 * outputs[::3].sum(dim=0))
        adapter.channel_transform.add_(
            torch.empty_like(adapter.channel_transform).normal_(0.0, 0.05, generator=generator)
        )
        if lite:
            adapter.add_low_rank(rank=4, alpha=1.0)
            for name, parameter in adapter.named_parameters():
                if "lora_" in name:
                    parameter.normal_(0.0, 0.3, generator=generator)
    return adapter


def smallest_gap(logits: Tensor) -> float:
    """How little the best token ever leads the second, over rows (n, V)."""
    best = logits.topk(2, dim=-1).values  # (n, 2)
    return float((best[:, 0] - best[:, 1]).min())


def log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """Of the token that follows each place: logits (T, V), ids (T,) of the tokens after each -> (T,)."""
    return logits.log_softmax(dim=-1).gather(1, ids[:, None])[:, 0]


def layer_gains(model: SteeredModel, top_down: Tensor) -> Tensor:
    """Size of what each layer's values got from top-down values (L, T, D): root mean square over kv, (T, L)."""
    layers = zip(model.backbone.model.layers, top_down, strict=True)
    added = [value @ layer.self_attn.v_proj.weight.T for layer, value in layers]  # L × (T, kv)
    return torch.stack([values.square().mean(dim=-1).sqrt() for values in added], dim=-1)


def golden_values(model: SteeredModel, ids: list[int]) -> dict[str, Tensor]:
    """Everything that golden.safetensors holds, computed in float32."""
    tokens = torch.tensor([ids])  # (1, T)
    with torch.inference_mode():
        steered = model(tokens)
        half = model(tokens, 0.5)
        plain = model.backbone(tokens)  # (1, T, V)
    plain_ids, plain_logits = generate_plain(model.backbone, ids, GREEDY_TOKENS)
    steered_ids, steered_logits = generate_steered(model, ids, GREEDY_TOKENS)
    with torch.inference_mode():
        whole = model(torch.tensor([ids + steered_ids[:-1]]))  # (1, T + 63)
        gains = layer_gains(model, whole.top_down_values[:, 0])  # (T + 63, L)
    start = len(ids) - 1  # the place that predicts the first generated token
    top = {
        name: logits[0].log_softmax(-1).topk(TOP_TOKENS)
        for name, logits in (("bottom_up", plain), ("steered", steered.logits))
    }
    return {
        "input_ids": tokens[0],
        "bottom_up_logits": plain[0],
        "bottom_up_hidden": steered.bottom_up[0],
        "relevance": steered.relevance[0],
        "top_down_values": steered.top_down_values[:, 0],
        "steered_logits": steered.logits[0],
        "half_strength_logits": half.logits[0],
        "greedy_plain_ids": torch.tensor(plain_ids),
        "greedy_plain_logits": plain_logits,
        "greedy_steered_ids": torch.tensor(steered_ids),
        "greedy_steered_logits": steered_logits,
        "bottom_up_logprobs": log_probabilities(plain[0, :-1], tokens[0, 1:]),
        "bottom_up_top_logprobs": top["bottom_up"].values,
        "bottom_up_top_ids": top["bottom_up"].indices,
        "steered_logprobs": log_probabilities(steered.logits[0, :-1], tokens[0, 1:]),
        "steered_top_logprobs": top["steered"].values,
        "steered_top_ids": top["steered"].indices,
        "layer_gains": gains[: len(ids)],
        "greedy_steered_logprobs": log_probabilities(steered_logits, torch.tensor(steered_ids)),
        "greedy_relevance": whole.relevance[0, start:],
        "greedy_layer_gains": gains[start:],
    }


def random_stack(model: SteeredModel, ids: list[int], seed: int) -> list[VectorUse]:
    """Two vectors, about a third as long as the layers' outputs: one everywhere, one that is taken away in the last."""
    backbone = model.backbone
    generator = torch.Generator().manual_seed(seed)
    zeros = torch.zeros(backbone.config.num_hidden_layers, backbone.config.hidden_size)  # (L, D)
    with torch.inference_mode():
        outputs = layer_outputs(backbone.model, backbone.embed(torch.tensor([ids])), zeros)
    sizes = torch.stack([output.square().mean().sqrt() for output in outputs])[:, None]  # (L, 1)
    last = len(zeros) - 1
    directions = [sizes * torch.empty_like(zeros).normal_(0.0, 0.4, generator=generator) for _ in range(2)]
    return [VectorUse(directions[0], 0.8, (0, last)), VectorUse(directions[1], -0.5, (last, last))]


def vector_values(model: SteeredModel, ids: list[int], stack: list[VectorUse]) -> dict[str, Tensor]:
    """The part of golden.safetensors that control vectors have to do with, computed in float32."""
    additions = stack_additions(stack)  # (L, D)
    backbone = model.backbone
    values = {"vector_directions": torch.stack([use.directions for use in stack])}  # (2, L, D)
    with torch.inference_mode():
        embedded = backbone.embed(torch.tensor([ids]))  # (1, T, D)
        top_down = model(torch.tensor([ids])).top_down_values  # (L, 1, T, D)
        alone = layer_outputs(backbone.model, embedded, additions)
        over_adapter = layer_outputs(backbone.model, embedded, additions, top_down)
        values["vectors_layer_outputs"] = torch.stack(alone)[:, 0]  # (L, T, D)
        values["vectors_logits"] = backbone.head(alone[-1])[0]  # (T, V)
        values["steered_vectors_logits"] = backbone.head(over_adapter[-1])[0]  # (T, V)
    for name, adapter in (("vectors", False), ("steered_vectors", True)):
        greedy_ids, logits = generate_with_vectors(model, ids, GREEDY_TOKENS, additions, adapter=adapter)
        values[f"greedy_{name}_ids"], values[f"greedy_{name}_logits"] = torch.tensor(greedy_ids), logits
    return values


def weakness_of_vectors(values: dict[str, Tensor], others: dict[str, Tensor]) -> str | None:
    """The same of what control vectors made. ``others``: what was made without them."""
    problem = weakness_of_texts(values, ("vectors", "steered_vectors"))
    if problem is not None:
        return problem
    for name, without in (("vectors", "plain"), ("steered_vectors", "steered")):
        if torch.equal(values[f"greedy_{name}_ids"], others[f"greedy_{without}_ids"]):
            return f"vectors do not change the {without} text"
    return None


def weakness_of_texts(values: dict[str, Tensor], lanes: tuple[str, ...]) -> str | None:
    for lane in lanes:
        gap = smallest_gap(values[f"greedy_{lane}_logits"])
        if gap <= SMALLEST_GAP:
            return f"the best {lane} token leads by only {gap:.4f}"
        distinct = len(set(values[f"greedy_{lane}_ids"].tolist()))
        if distinct < FEWEST_DISTINCT:
            return f"the {lane} text has only {distinct} different tokens"
    return None


def weakness(values: dict[str, Tensor]) -> str | None:
    """Why these values would make a poor test, or None."""
    problem = weakness_of_texts(values, ("plain", "steered"))
    if problem is not None:
        return problem
    relevance = values["relevance"]
    zero = float((relevance == 0).float().mean())
    if not 0.1 <= float(relevance.mean()) <= 0.8 or not 0.05 <= zero <= 0.8:
        return f"relevance has mean {float(relevance.mean()):.3f} and {zero:.0%} zeros"
    if torch.equal(values["greedy_plain_ids"], values["greedy_steered_ids"]):
        return "steering does not change the text"
    return None


def build(variant: Variant, seed: int, ids: list[int]) -> SteeredModel:
    """A variant's model as it will be read from disk: rounded to the dtype it is stored in."""
    generator = torch.Generator().manual_seed(seed)
    model = random_model(variant.config, generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(variant.dtype))
    adapter = random_adapter(model, torch.tensor([ids]), generator, variant.lite)
    adapter.features = variant.features
    return SteeredModel(model, adapter)


def search(variant: Variant, ids: list[int], limit: int) -> int:
    """The first seed whose golden values have no weakness."""
    for seed in range(limit):
        if weakness(golden_values(build(variant, seed, ids), ids)) is None:
            return seed
    raise RuntimeError(f"none of the first {limit} seeds will do")


def search_vectors(model: SteeredModel, ids: list[int], limit: int) -> int:
    """The first seed of control vectors whose golden values have no weakness."""
    others = golden_values(model, ids)
    for seed in range(limit):
        if weakness_of_vectors(vector_values(model, ids, random_stack(model, ids, seed)), others) is None:
            return seed
    raise RuntimeError(f"none of the first {limit} seeds of control vectors will do")


def write_variant(name: str, out: Path, tokenizer_folder: Path, ids: list[int]) -> None:
    """Write one folder. Raises RuntimeError when its seed no longer gives values that test anything."""
    variant = VARIANTS[name]
    folder = out / name
    built = build(variant, variant.seed, ids)
    save_model(
        built.backbone.state_dict(),
        variant.config,
        folder,
        dtype=variant.dtype,
        shards=variant.shards,
    )
    for path in tokenizer_folder.iterdir():
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(path, folder))
    if variant.newer_config:
        _modernize(folder / "config.json")
    facts = AdapterFacts(backbone_hash(folder), "initial", "alpaca", "MIT")
    save_adapter(built.adapter, folder / "adapter.safetensors", facts)
    # Read back, so that the values belong to the files and not to what was meant to be in them.
    model = SteeredModel(load_model(folder).eval(), built.adapter)
    values = golden_values(model, ids)
    of_vectors = vector_values(model, ids, random_stack(model, ids, variant.vector_seed))
    problem = weakness(values) or weakness_of_vectors(of_vectors, values)
    values |= of_vectors
    if problem is not None:
        raise RuntimeError(f"{name}: {problem}; find another seed with --search")
    kept = {key: value.contiguous().clone() for key, value in values.items()}
    write_atomically(folder / "golden.safetensors", lambda path: save_file(kept, path))


def _modernize(path: Path) -> None:
    """Rewrite a config.json into the newer form, which gathers the rotary settings in one object."""
    values = json.loads(path.read_text())
    scaling = values.pop("rope_scaling") or {"rope_type": "default"}
    values["rope_parameters"] = {"rope_theta": values.pop("rope_theta"), **scaling}
    values["dtype"] = values.pop("torch_dtype")
    write_json(path, values)


def oracle(tokenizer: Tokenizer) -> list[dict[str, object]]:
    """Each string with its ids (without BOS) and what they decode to."""
    rows = []
    for text in ORACLE_TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return rows


def main() -> None:
    parser = command(DESCRIPTION)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; OUT/tokenizer must be there")
    parser.add_argument("--only", choices=sorted(VARIANTS), help="write this folder alone")
    parser.add_argument("--search", action="store_true", help="print the first good seed of each, write nothing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    tokenizer_folder = arguments.out / "tokenizer"
    tokenizer = load_tokenizer(tokenizer_folder)
    assert tokenizer.token_to_id(END) == SHARED.eos_token_id
    ids = [tokenizer.token_to_id(BEGIN), *tokenizer.encode(PROMPT, add_special_tokens=False).ids][:40]
    for name in [arguments.only] if arguments.only else VARIANTS:
        if arguments.search:
            seed = search(VARIANTS[name], ids, 5000)
            vector_seed = search_vectors(build(VARIANTS[name], seed, ids), ids, 5000)
            print(f"{name}: seed {seed}, vector_seed {vector_seed}", flush=True)
        else:
            write_variant(name, arguments.out, tokenizer_folder, ids)
            print(f"{name} -> {arguments.out / name}")
    if not arguments.search and not arguments.only:
        write_json(arguments.out / "tokenizer_oracle.json", oracle(tokenizer))


if __name__ == "__main__":
    run_command(main)
