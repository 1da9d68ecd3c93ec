"""The decoder: caches, rope, configs and folders."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import pytest
import torch

from conftest import random_ids, tiny_config, tiny_model
from toast.checkpoint import BadFolder, load_config, load_model, save_model
from toast.llama import Attention, DecoderLayer, LlamaConfig, RopeScaling, UnsupportedModel, rotary_frequencies

SHAPES = {
    "grouped-query": {},
    "multi-head": {"num_key_value_heads": 4},
    "one kv head": {"num_key_value_heads": 1},
    "explicit head_dim": {"head_dim": 12},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "tied": {"tie_word_embeddings": True},
    "linear rope": {"rope_scaling": RopeScaling(kind="linear", factor=2.0)},
    "llama3 rope": {
        "rope_scaling": RopeScaling(kind="llama3", factor=4.0, original_max_position_embeddings=32),
        "rope_theta": 500000.0,
    },
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_decoding_with_a_cache_equals_one_full_pass(shape):
    model = tiny_model(**shape).double()
    ids = random_ids(2, 17)
    with torch.inference_mode():
        full = model(ids)
        cache = model.new_cache()
        pieces = [model(ids[:, start:end], cache) for start, end in ((0, 9), (9, 10), (10, 14), (14, 17))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), full, atol=1e-6, rtol=0)
    assert cache.length == 17


def test_attention_agrees_with_the_formula_written_out():
    model = tiny_model().double()
    attention: Attention = model.model.layers[0].self_attn
    x = torch.randn(1, 5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rotation = model.model.rotation(0, 5, x.device)
    queries = (x @ attention.q_proj.weight.T)[0].view(5, 4, 8)
    keys = (x @ attention.k_proj.weight.T)[0].view(5, 2, 8)
    values = (x @ attention.v_proj.weight.T)[0].view(5, 2, 8)
    frequencies = [10000 ** (-2 * i / 8) for i in range(4)]

    def rotate(vector, position):
        turned = vector.clone()
        for i, frequency in enumerate(frequencies):
            c, s = math.cos(position * frequency), math.sin(position * frequency)
            turned[i], turned[i + 4] = c * vector[i] - s * vector[i + 4], s * vector[i] + c * vector[i + 4]
        return turned

    rows = []
    for t in range(5):
        heads = []
        for head in range(4):
            query = rotate(queries[t, head], t)
            scores = torch.stack([query @ rotate(keys[s, head // 2], s) / math.sqrt(8) for s in range(t + 1)])
            heads.append(scores.softmax(0) @ values[: t + 1, head // 2])
        rows.append(torch.cat(heads))
    expected = torch.stack(rows) @ attention.o_proj.weight.T
    torch.testing.assert_close(attention(x, rotation, None)[0], expected, atol=1e-6, rtol=0)


def test_llama3_scaling_keeps_short_waves_and_stretches_long_ones():
    scaling = RopeScaling(
        kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
    )
    shape = {"head_dim": 128, "rope_theta": 500000.0, "num_attention_heads": 2}
    plain = rotary_frequencies(tiny_config(**shape))
    stretched = rotary_frequencies(tiny_config(**shape, rope_scaling=scaling))
    wavelengths = 2 * math.pi / plain
    short, long = wavelengths < 8192 / 4, wavelengths > 8192
    assert short.any()
    assert long.any()
    torch.testing.assert_close(stretched[short], plain[short])
    torch.testing.assert_close(stretched[long], plain[long] / 8)
    between = ~short & ~long
    assert ((stretched[between] < plain[between]) & (stretched[between] > plain[between] / 8)).all()


def test_top_down_values_cannot_be_left_out_of_a_steered_pass():
    for walk in (Attention.steered, DecoderLayer.steered):
        assert inspect.signature(walk).parameters["top_down"].default is inspect.Parameter.empty
    model = tiny_model()
    with pytest.raises(TypeError):
        model.model.steered(model.embed(random_ids(1, 4)))
    with pytest.raises(ValueError, match="2 top-down values for 3 layers"):
        model.model.steered(model.embed(random_ids(1, 4)), torch.zeros(2, 1, 4, 32))


def test_both_forms_of_rope_settings_are_read():
    old = tiny_config(rope_theta=500000.0, rope_scaling=RopeScaling(kind="linear", factor=2.0)).to_hf()
    new = {key: value for key, value in old.items() if key not in ("rope_theta", "rope_scaling")}
    new["rope_parameters"] = {"rope_theta": 500000.0, "rope_type": "linear", "factor": 2.0}
    assert LlamaConfig.from_hf(old) == LlamaConfig.from_hf(new)
    assert LlamaConfig.from_hf(old | {"rope_scaling": {"type": "linear", "factor": 2.0}}) == LlamaConfig.from_hf(old)


def test_a_config_goes_to_hugging_face_form_and_back():
    config = tiny_config(
        attention_bias=True,
        head_dim=12,
        rope_scaling=RopeScaling("llama3", 4.0, 1.0, 4.0, 64),
    )
    assert LlamaConfig.from_hf(json.loads(json.dumps(config.to_hf()))) == config


def test_defaults_of_old_configs_are_filled_in():
    values = tiny_config().to_hf()
    for key in ("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "rope_theta", "rope_scaling"):
        del values[key]
    config = LlamaConfig.from_hf(values | {"eos_token_id": [2, 3]})
    assert (config.num_key_value_heads, config.head_dim, config.eos_token_id) == (4, 8, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["MistralForCausalLM"]}, "architecture 'MistralForCausalLM'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope scaling 'yarn'"),
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"num_key_value_heads": 3}, "4 query heads cannot share 3"),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(change, message):
    with pytest.raises(UnsupportedModel, match=message):
        LlamaConfig.from_hf(tiny_config().to_hf() | change)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("tied", [False, True])
def test_a_folder_is_read_as_it_was_written(tmp_path: Path, shards, tied):
    model = tiny_model(tie_word_embeddings=tied)
    save_model(model.state_dict(), model.config, tmp_path, shards=shards)
    assert load_config(tmp_path) == model.config
    read = load_model(tmp_path).state_dict()
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in model.state_dict().items())
    assert len(list(tmp_path.glob("*.safetensors"))) == shards


@pytest.mark.parametrize("index", [False, True])
def test_pickled_folders_are_read_too(tmp_path: Path, index):
    model = tiny_model()
    tensors = model.state_dict() | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_hf()))
    if index:
        names = list(tensors)
        halves = {"pytorch_model-1.bin": names[:9], "pytorch_model-2.bin": names[9:]}
        for file, chosen in halves.items():
            torch.save({name: tensors[name] for name in chosen}, tmp_path / file)
        weight_map = {name: file for file, chosen in halves.items() for name in chosen}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    else:
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    ids = random_ids(1, 6)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(ids), model(ids))


def test_bfloat16_folders_are_read_into_float32(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path, dtype=torch.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    weight = load_model(tmp_path).lm_head.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, model.lm_head.weight.bfloat16().float())


def test_broken_folders_are_named_in_one_sentence(tmp_path: Path):
    model = tiny_model()
    tensors = model.state_dict()
    with pytest.raises(BadFolder, match=r"no config\.json"):
        load_model(tmp_path)
    save_model({n: t for n, t in tensors.items() if n != "model.norm.weight"}, model.config, tmp_path)
    with pytest.raises(BadFolder, match=r"'model.norm.weight' is missing \(1 in all\)"):
        load_model(tmp_path)
    save_model(tensors | {"model.norm.weight": torch.ones(31)}, model.config, tmp_path)
    with pytest.raises(BadFolder, match=r"'model.norm.weight' has shape \[31\], not \[32\]"):
        load_model(tmp_path)
    save_model(tensors | {"model.extra": torch.ones(1)}, model.config, tmp_path)
    with pytest.raises(BadFolder, match=r"unexpected tensor 'model.extra'"):
        load_model(tmp_path)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    model = tiny_model()
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_hf()))
    torch.save({"model.norm.weight": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadFolder, match="not a file of tensors"):
        load_model(tmp_path)
