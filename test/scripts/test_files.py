"""Adapter files, hashes, atomic writes, tokenizers and golden values."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import TINY, random_ids, run_command, tiny_model, tiny_steered
from toast.adapter_file import AdapterFacts, load_adapter, load_adapter_for, save_adapter
from toast.checkpoint import BadFolder, load_model, save_model
from toast.files import write_atomically
from toast.hashing import backbone_hash
from toast.llama import LlamaConfig
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer, train_tokenizer

FACTS = AdapterFacts(backbone_sha256="ab" * 32, stage="tuned", prompt_format="alpaca", licence="MIT")


def test_the_backbone_hash_is_what_its_definition_says(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path / "one", dtype=torch.bfloat16)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items(), key=lambda item: item[0].encode()):
        shape = ",".join(map(str, tensor.shape))
        digest.update(name.encode() + b"\0BF16\0" + shape.encode() + b"\0")
        halves = tensor.bfloat16().flatten().view(torch.int16).tolist()
        digest.update(struct.pack(f"<{len(halves)}h", *halves))
    assert backbone_hash(tmp_path / "one") == digest.hexdigest()
    save_model(model.state_dict(), model.config, tmp_path / "many", dtype=torch.bfloat16, shards=4)
    assert backbone_hash(tmp_path / "many") == digest.hexdigest()


def test_the_hash_sees_dtype_and_any_weight(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path / "a")
    save_model(model.state_dict(), model.config, tmp_path / "b", dtype=torch.float16)
    with torch.no_grad():
        model.model.norm.weight[3] += 1e-6
    save_model(model.state_dict(), model.config, tmp_path / "c")
    assert len({backbone_hash(tmp_path / name) for name in "abc"}) == 3


def test_a_pickled_folder_hashes_like_the_safetensors_made_from_it(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path / "a")
    (tmp_path / "b").mkdir()
    torch.save(model.state_dict(), tmp_path / "b" / "pytorch_model.bin")
    assert backbone_hash(tmp_path / "b") == backbone_hash(tmp_path / "a")


def test_truncated_weights_are_noticed(tmp_path: Path):
    model = tiny_model()
    save_model(model.state_dict(), model.config, tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadFolder, match="truncated inside tensor"):
        backbone_hash(tmp_path)


def test_an_adapter_file_says_how_large_its_features_are(tmp_path: Path):
    model = tiny_steered()
    model.adapter.features = "unit_rms"
    path = tmp_path / "adapter.safetensors"
    save_adapter(model.adapter, path, FACTS)
    assert load_adapter(path)[0].features == "unit_rms"
    described = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(described | {"features": "loud"}))
    with pytest.raises(BadFolder, match="features must be raw or unit_rms, not 'loud'"):
        load_adapter(path)
    del described["features"]  # as files of 0.1 are
    path.with_suffix(".json").write_text(json.dumps(described))
    assert load_adapter(path)[0].features == "raw"


def test_an_adapter_says_what_it_is_good_for(tmp_path: Path):
    said = {"description": "Writes in rhyme.", "example_prompt": "Describe the sea.", "recommended_strength": 0.8}
    path = tmp_path / "adapter.safetensors"
    save_adapter(tiny_steered().adapter, path, replace(FACTS, **said))
    assert load_adapter(path)[1].items() >= said.items()


@pytest.mark.parametrize("lite", [False, True], ids=["full", "lite"])
def test_an_adapter_file_has_the_official_names_and_is_read_as_written(tmp_path: Path, lite):
    model = tiny_steered(lite=lite)
    path = tmp_path / "adapter.safetensors"
    save_adapter(model.adapter, path, FACTS)
    names = set(load_file(path))
    expected = {"model.prompt", "model.top_down_transform"}
    for layer in range(3):
        for linear in ("linear", "linear2"):
            parts = ("weight", "lora_A", "lora_B") if lite else ("weight",)
            expected |= {f"model.decoders.{layer}.{linear}.{part}" for part in parts}
    assert names == expected
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "format": "toast-adapter",
        "version": 1,
        "kind": "lite" if lite else "full",
        "features": "raw",
        "rank": 4 if lite else None,
        "alpha": 1.0,
        "selection": "cosine",
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "backbone_sha256": "ab" * 32,
        "stage": "tuned",
        "prompt_format": "alpaca",
        "licence": "MIT",
        "created_by": "toast-serve",
    }
    read, _ = load_adapter(path)
    ids = random_ids(1, 8)
    with torch.inference_mode():
        assert torch.equal(SteeredModel(model.backbone, read)(ids).logits, model(ids).logits)


def test_carry_and_emit_are_not_swapped_on_disk(tmp_path: Path):
    model = tiny_steered()
    path = tmp_path / "adapter.safetensors"
    save_adapter(model.adapter, path, FACTS)
    tensors = load_file(path)
    assert torch.equal(tensors["model.decoders.1.linear.weight"], model.adapter.feedback[1].carry.weight)
    assert torch.equal(tensors["model.decoders.1.linear2.weight"], model.adapter.feedback[1].emit.weight)


def test_an_adapter_of_another_backbone_is_refused(tmp_path: Path):
    path = tmp_path / "adapter.safetensors"
    save_adapter(tiny_steered().adapter, path, FACTS)
    with pytest.raises(BadFolder, match="made for another backbone"):
        load_adapter_for(path, "cd" * 32)
    path.with_suffix(".json").unlink()
    with pytest.raises(BadFolder, match=r"adapter.json is not there"):
        load_adapter(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    write_atomically(path, lambda target: target.write_text("old"))

    def fail(target: Path) -> None:
        target.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_tokenizer_spells_any_text_and_keeps_llamas_layout():
    tokenizer = train_tokenizer(["the river rises above the town 1894\n\n"] * 50 + ["and falls again"] * 50, 320)
    assert [tokenizer.id_to_token(i) for i in (0, 1, 2, 3, 258)] == ["<unk>", "<s>", "</s>", "<0x00>", "<0xFF>"]
    for text in ("the river", "  ünïcode 日本 😀\n\tx", "<0x0A> written out", "a\r\nb", " lead", "12 345"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        assert 0 not in ids
    assert tokenizer.encode("the").ids[0] == 1
    assert tokenizer.encode("1894", add_special_tokens=False).tokens == ["▁", "1", "8", "9", "4"]


def test_the_oracle_is_what_the_tokenizer_does_now():
    tokenizer = load_tokenizer(TINY / "tokenizer")
    rows = json.loads((TINY / "tokenizer_oracle.json").read_text())
    assert len(rows) >= 40
    for row in rows:
        assert tokenizer.encode(row["text"], add_special_tokens=False).ids == row["ids"]
        assert tokenizer.decode(row["ids"], skip_special_tokens=False) == row["decoded"]


VARIANTS = ["mha", "gqa", "tied", "llama3-rope", "head-dim-8", "hidden-64-ffn-172", "unit-rms"]


@pytest.mark.parametrize("name", VARIANTS)
def test_golden_values_belong_to_the_files_beside_them(name):
    folder = TINY / name
    golden = load_file(folder / "golden.safetensors")
    adapter, _ = load_adapter_for(folder / "adapter.safetensors", backbone_hash(folder))
    model = SteeredModel(load_model(folder).eval(), adapter)
    with torch.inference_mode():
        result = model(golden["input_ids"][None])
    torch.testing.assert_close(result.logits[0], golden["steered_logits"], atol=5e-5, rtol=0)
    torch.testing.assert_close(result.relevance[0], golden["relevance"], atol=1e-5, rtol=0)
    torch.testing.assert_close(result.top_down_values[:, 0], golden["top_down_values"], atol=5e-5, rtol=0)


def test_golden_values_can_be_written_again(tmp_path: Path):
    (tmp_path / "tokenizer").mkdir()
    for file in (TINY / "tokenizer").iterdir():
        (tmp_path / "tokenizer" / file.name).write_bytes(file.read_bytes())
    run_command("write_golden_values.py", "--out", tmp_path, "--only", "head-dim-8")
    new, old = tmp_path / "head-dim-8", TINY / "head-dim-8"
    assert (new / "config.json").read_bytes() == (old / "config.json").read_bytes()
    # The last bits depend on the processor's vector functions, and with them the hash of the backbone.
    for name, tolerance in (("model", 1e-5), ("adapter", 1e-5), ("golden", 1e-4)):
        written, kept = (load_file(folder / f"{name}.safetensors") for folder in (new, old))
        assert written.keys() == kept.keys()
        for key, value in kept.items():
            torch.testing.assert_close(written[key], value, atol=tolerance, rtol=0)
    described = [json.loads((folder / "adapter.json").read_text()) for folder in (new, old)]
    assert described[0] | {"backbone_sha256": ""} == {"features": "raw"} | described[1] | {"backbone_sha256": ""}


def test_the_tiny_folders_cover_what_they_are_there_for():
    configs = {name: LlamaConfig.from_hf(json.loads((TINY / name / "config.json").read_text())) for name in VARIANTS}
    assert configs["mha"].num_key_value_heads == configs["mha"].num_attention_heads
    assert configs["gqa"].num_key_value_heads < configs["gqa"].num_attention_heads
    assert configs["tied"].tie_word_embeddings
    assert configs["llama3-rope"].rope_scaling.kind == "llama3"
    assert configs["llama3-rope"].attention_bias
    assert configs["head-dim-8"].head_dim == 8
    assert (configs["hidden-64-ffn-172"].hidden_size, configs["hidden-64-ffn-172"].intermediate_size) == (64, 172)
    assert json.loads((TINY / "gqa" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert len(list((TINY / "tied").glob("model-*.safetensors"))) == 2
    assert load_adapter(TINY / "head-dim-8" / "adapter.safetensors")[1]["kind"] == "lite"
