"""The commands from end to end: kill and resume, every stage, the official checkpoint, several processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from conftest import (
    SCRIPTS,
    TINY,
    environment,
    loss_curve,
    random_ids,
    run_command,
    tiny_config,
    tiny_steered,
)
from toast.adapter_file import load_adapter_for, official_names
from toast.checkpoint import load_model
from toast.data import TextSource, read_documents
from toast.hashing import backbone_hash
from toast.llama import LlamaForCausalLM
from toast.steering import SteeredModel
from toast.tokenizer import load_tokenizer
from toast.trainer import TrainSettings, learning_rate

COMMANDS = sorted(path.name for path in SCRIPTS.glob("*_*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_itself(name):
    help_text = run_command(name, "--help").stdout
    assert "example:" in help_text
    assert "--out" in help_text or name in ("generate_text.py", "compare_servers.py", "plan_training.py")


def pretrain_arguments(text: Path, tokenizer: Path, out: Path, *more: object) -> list[object]:
    return [
        *("--tokenizer", tokenizer, "--text", text, "--cache", out.parent / "cache", "--out", out),
        *("--hidden-size", 32, "--layers", 2, "--heads", 4, "--kv-heads", 2, "--intermediate-size", 48),
        *("--context", 64, "--block", 32, "--batch-size", 4, "--precision", "fp32"),
        *more,
    ]


def kill_after(name: str, arguments: list[object], out: Path, step: int, threads: int = 1) -> None:
    """Start a command and end it with SIGKILL as soon as its loss curve has reached ``step``."""
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    given = environment() | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    curve = out / "loss.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if curve.exists() and curve.read_text().count("\n") >= step:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_goes_on_with_the_same_loss_curve(tmp_path: Path, text_file, tokenizer_folder, optimizer):
    fixed = ("--steps", 40, "--accumulate", 2, "--optimizer", optimizer)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_command("pretrain_base.py", *pretrain_arguments(text_file, tokenizer_folder, whole, *fixed))
    # A checkpoint after every step, so that the kill falls among them.
    often = pretrain_arguments(text_file, tokenizer_folder, broken, *fixed, "--checkpoint-minutes", 0, "--resume")
    kill_after("pretrain_base.py", often, broken, step=15)
    reached = loss_curve(broken)[-1][0]
    assert reached < 40
    run_command("pretrain_base.py", *often)
    assert loss_curve(broken) == loss_curve(whole)
    assert [step for step, _ in loss_curve(broken)] == list(range(1, 41))
    weights, same = load_file(whole / "model.safetensors"), load_file(broken / "model.safetensors")
    assert all(torch.equal(same[name], tensor) for name, tensor in weights.items())


def held_out_curve(out: Path) -> list[tuple[int, float]]:
    lines = (out / "held_out.jsonl").read_text().splitlines()
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


def test_a_killed_tuning_goes_on_with_the_same_curves_and_the_same_best(
    tmp_path: Path, base_folder: Path, alpaca_file: Path
):
    """With cached features that the kill left half written."""

    def arguments(name: str) -> list[object]:
        return [
            *("--model", base_folder, "--data", alpaca_file, "--held-out", 20, "--out", tmp_path / name),
            *("--features", "unit_rms", "--emit-start", "zero", "--task-embedding-start", "aligned"),
            *("--cache-features", tmp_path / f"{name}-z", "--precision", "fp32", "--batch-size", 4, "--accumulate", 1),
            *("--learning-rate", 1e-2, "--steps", 30, "--evaluate-steps", 3, "--resume", "--checkpoint-minutes", 0),
        ]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_command("tune_adapter.py", *arguments("whole"))
    kill_after("tune_adapter.py", arguments("broken"), broken, step=11)
    assert loss_curve(broken)[-1][0] < 30
    run_command("tune_adapter.py", *arguments("broken"))
    assert loss_curve(broken) == loss_curve(whole)
    assert held_out_curve(broken) == held_out_curve(whole)
    assert [step for step, _ in held_out_curve(whole)] == list(range(0, 31, 3))
    for folder in (whole, broken):
        best = json.loads((folder / "best" / "best.json").read_text())
        assert (best["step"], best["loss"]) == min(held_out_curve(folder), key=lambda row: row[1])
    for file in ("adapter.safetensors", "best/adapter.safetensors"):
        tensors, same = load_file(whole / file), load_file(broken / file)
        assert all(torch.equal(same[name], tensor) for name, tensor in tensors.items())
    adapter, described = load_adapter_for(whole / "best" / "adapter.safetensors", backbone_hash(base_folder))
    assert adapter.features == described["features"] == "unit_rms"


def test_the_loss_curve_is_drawn(base_folder: Path, tmp_path: Path, alpaca_file: Path):
    out = tmp_path / "out"
    run_command(
        "tune_adapter.py",
        *("--model", base_folder, "--data", alpaca_file, "--held-out", 20, "--out", out),
        *("--steps", 4, "--batch-size", 4, "--accumulate", 1, "--evaluate-steps", 2),
    )
    drawing = (out / "loss.svg").read_text()
    assert "step 4," in drawing
    assert "finished" in drawing
    assert "held out" in drawing


def test_a_run_goes_on_with_other_threads_and_other_processes(tmp_path: Path, base_folder: Path, text_file: Path):
    """Begun on one thread, gone on by two processes: still one curve, and it is that of two threads."""

    def arguments(out: Path, accumulate: int) -> list[object]:
        return [
            *("--model", base_folder, "--text", text_file, "--cache", tmp_path / "cache", "--block", 32),
            *("--steps", 24, "--learning-rate", 3e-3, "--precision", "fp32", "--batch-size", 2, "--out", out),
            *("--accumulate", accumulate, "--evaluate-steps", 4, "--checkpoint-minutes", 0, "--resume"),
        ]

    alone, moved = tmp_path / "alone", tmp_path / "moved"
    run_command("pretune_adapter.py", *arguments(alone, 2))
    kill_after("pretune_adapter.py", arguments(moved, 2), moved, step=5)
    refused = torchrun("pretune_adapter.py", arguments(moved, 2))
    assert refused.returncode != 0
    assert "takes 2 batches a step; with 2 processes --accumulate 2 takes 4" in refused.stderr
    result = torchrun("pretune_adapter.py", arguments(moved, 1))
    assert result.returncode == 0, result.stderr
    assert json.loads((moved / "settings.json").read_text())["world_size"] == 2
    for (step, loss), (same_step, same_loss) in zip(loss_curve(alone), loss_curve(moved), strict=True):
        assert step == same_step
        assert loss == pytest.approx(same_loss, abs=2e-4)
    for (step, loss), (same_step, same_loss) in zip(held_out_curve(alone), held_out_curve(moved), strict=True):
        assert step == same_step
        assert loss == pytest.approx(same_loss, abs=2e-4)


def torchrun(name: str, arguments: list[object]) -> subprocess.CompletedProcess[str]:
    """A command on two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, str(SCRIPTS / name), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_a_run_is_not_overwritten_and_not_continued_with_other_settings(tmp_path: Path, text_file, tokenizer_folder):
    out = tmp_path / "run"
    arguments = pretrain_arguments(text_file, tokenizer_folder, out)
    run_command("pretrain_base.py", *arguments, "--steps", 3)
    again = run_command("pretrain_base.py", *arguments, "--steps", 3, check=False)
    assert again.status == 2
    assert "holds a run already: add --resume" in again.stderr
    other = run_command("pretrain_base.py", *arguments, "--steps", 5, "--seed", 2, "--resume", check=False)
    assert other.status == 2
    assert "was started with seed=1, not 2" in other.stderr
    finished = run_command("pretrain_base.py", *arguments, "--steps", 3, "--resume")
    assert finished.stdout.splitlines()[-1].startswith(f"finished at step 3: loss {loss_curve(out)[-1][1]:.3f}")


def test_settings_and_a_falling_loss_lie_beside_the_weights(base_folder: Path):
    settings = json.loads((base_folder / "settings.json").read_text())
    assert settings["training"]["steps"] == 10
    assert settings["training"]["precision"] in ("fp32", "bf16")
    assert settings["arguments"]["block"] == 32
    assert settings["trained_parameters"] == settings["parameters"]
    curve = loss_curve(base_folder)
    assert curve[-1][1] < curve[0][1]
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= {
        path.name for path in base_folder.iterdir()
    }


def hundred_steps(**changes: object) -> TrainSettings:
    """A run to a rate of 1, down to a tenth of it."""
    values = {
        "out": "",
        "steps": 100,
        "minutes": None,
        "batch_size": 1,
        "accumulate": 1,
        "learning_rate": 1.0,
        "floor": 0.1,
        "warmup": 0.1,
        "weight_decay": 0.0,
        "clip": 1.0,
        "optimizer": "adamw",
        "seed": 1,
        "precision": "fp32",
        "compile": False,
        "checkpoint_minutes": 1.0,
    }
    return TrainSettings(**(values | changes))


def test_the_schedule_warms_up_and_falls_as_a_cosine():
    settings = hundred_steps()
    assert learning_rate(settings, 0.05) == pytest.approx(0.5)
    assert learning_rate(settings, 0.1) == pytest.approx(1.0)
    assert learning_rate(settings, 0.55) == pytest.approx(0.55)
    assert learning_rate(settings, 1.0) == pytest.approx(0.1)
    assert learning_rate(settings, 0.0) > 0


def test_a_level_schedule_holds_the_peak_until_its_last_share():
    settings = hundred_steps(decay=0.2)
    assert learning_rate(settings, 0.05) == pytest.approx(0.5)
    assert [learning_rate(settings, at) for at in (0.1, 0.5, 0.8)] == [pytest.approx(1.0)] * 3
    assert learning_rate(settings, 0.9) == pytest.approx(0.55)
    assert learning_rate(settings, 1.0) == pytest.approx(0.1)


def test_a_resumed_run_may_be_longer_than_it_was_planned(tmp_path: Path, text_file, tokenizer_folder):
    out = tmp_path / "run"
    arguments = pretrain_arguments(text_file, tokenizer_folder, out)
    run_command("pretrain_base.py", *arguments, "--steps", 3)
    run_command("pretrain_base.py", *arguments, "--steps", 6, "--decay", 0.5, "--resume")
    assert [step for step, _ in loss_curve(out)] == list(range(1, 7))


def test_a_run_may_start_from_an_earlier_ones_weights(tmp_path: Path, text_file, tokenizer_folder):
    first, second = tmp_path / "first", tmp_path / "second"
    run_command("pretrain_base.py", *pretrain_arguments(text_file, tokenizer_folder, first), "--steps", 5)
    going_on = pretrain_arguments(text_file, tokenizer_folder, second, "--start-from", first, "--steps", 1)
    run_command("pretrain_base.py", *going_on, "--block", 16, "--context", 128, "--learning-rate", 1e-9)
    weights, later = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert all(torch.allclose(later[name], tensor, atol=1e-6) for name, tensor in weights.items())
    assert any(not torch.equal(later[name], tensor) for name, tensor in weights.items())
    assert json.loads((second / "config.json").read_text())["max_position_embeddings"] == 128
    wider = pretrain_arguments(text_file, tokenizer_folder, tmp_path / "third", "--start-from", first, "--steps", 1)
    refused = run_command("pretrain_base.py", *wider, "--intermediate-size", 64, check=False)
    assert refused.status == 2
    assert "has intermediate_size 48, not 64" in refused.stderr


SHORT = ("--batch-size", 4, "--accumulate", 1, "--learning-rate", 3e-3)


@pytest.fixture(scope="module")
def pretuned(base_folder: Path, text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretuned") / "out"
    run_command(
        "pretune_adapter.py",
        *("--model", base_folder, "--text", text_file, "--cache", out.parent / "cache", "--out", out),
        *("--block", 32, "--steps", 12, *SHORT),
    )
    return out


def test_pretuning_writes_an_adapter_of_its_backbone(base_folder: Path, pretuned: Path):
    adapter, described = load_adapter_for(pretuned / "adapter.safetensors", backbone_hash(base_folder))
    assert (described["kind"], described["stage"], described["prompt_format"]) == ("full", "pretuned", None)
    assert torch.equal(adapter.channel_transform, torch.eye(32))
    rows = [json.loads(line) for line in (pretuned / "loss.jsonl").read_text().splitlines()]
    assert rows[-1]["reconstruction"] < rows[0]["reconstruction"]
    assert 0 < rows[-1]["relevance"] <= 1
    wake = json.loads((pretuned / "settings.json").read_text())["wake"]
    assert wake["active_share"] >= 0.05


@pytest.mark.parametrize("lite", [False, True], ids=["full", "lite"])
def test_tuning_changes_its_share_of_the_adapter_and_no_backbone(
    tmp_path: Path, base_folder: Path, pretuned: Path, alpaca_file: Path, lite
):
    before = backbone_hash(base_folder)
    start = pretuned / "adapter.safetensors"
    run_command(
        "tune_adapter.py",
        *("--model", base_folder, "--adapter", start, "--data", alpaca_file, "--held-out", 20),
        *("--out", tmp_path / "out", "--steps", 6, *SHORT, *(["--lite"] if lite else [])),
    )
    assert backbone_hash(base_folder) == before
    old, new = load_file(start), load_file(tmp_path / "out" / "adapter.safetensors")
    described = json.loads((tmp_path / "out" / "adapter.json").read_text())
    assert (described["kind"], described["stage"], described["prompt_format"]) == (
        "lite" if lite else "full",
        "tuned",
        "alpaca",
    )
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    emits = {f"model.decoders.{layer}.linear2.weight" for layer in range(2)}
    assert changed == {"model.prompt"} | (set() if lite else emits)
    if lite:
        assert all(new[name].abs().max() > 0 for name in new if name.endswith("lora_B"))


def test_a_killed_tuning_goes_on_with_the_same_loss_curve(
    tmp_path: Path, base_folder: Path, pretuned: Path, alpaca_file: Path
):
    def arguments(out: Path) -> list[object]:
        return [
            *("--model", base_folder, "--adapter", pretuned / "adapter.safetensors", "--data", alpaca_file),
            *("--held-out", 20, "--out", out, "--steps", 30, *SHORT, "--lite", "--precision", "fp32"),
            *("--checkpoint-minutes", 0, "--resume"),
        ]

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_command("tune_adapter.py", *arguments(whole))
    kill_after("tune_adapter.py", arguments(broken), broken, step=10)
    run_command("tune_adapter.py", *arguments(broken))
    assert loss_curve(broken) == loss_curve(whole)
    final, same = load_file(whole / "adapter.safetensors"), load_file(broken / "adapter.safetensors")
    assert all(torch.equal(same[name], tensor) for name, tensor in final.items())


@pytest.mark.parametrize("name", ["finetune_full.py", "finetune_lora.py"])
def test_the_rivals_are_written_as_model_folders(tmp_path: Path, base_folder: Path, alpaca_file: Path, name):
    run_command(
        name,
        *("--model", base_folder, "--data", alpaca_file, "--held-out", 20, "--out", tmp_path / "out"),
        *("--steps", 6, *SHORT),
    )
    base, tuned = load_model(base_folder).state_dict(), load_model(tmp_path / "out").state_dict()
    changed = {key.split(".")[-2] for key in base if not torch.equal(base[key], tuned[key])}
    if name == "finetune_lora.py":
        assert changed == {"q_proj", "v_proj"}
    else:
        assert {"q_proj", "down_proj", "norm", "embed_tokens"} <= changed
    assert (tmp_path / "out" / "tokenizer.json").exists()


def test_evaluation_counts_held_out_tokens_and_strength_zero_is_plain(
    tmp_path: Path, alpaca_file: Path, text_file: Path
):
    folder = TINY / "mha"
    shared = ("--data", alpaca_file, "--held-out", 20, "--text", text_file, "--held-out-percent", 10, "--block", 32)
    shared = (*shared, "--cache", tmp_path / "cache")
    run_command("evaluate_model.py", "--model", folder, *shared, "--out", tmp_path / "plain.json")
    run_command(
        "evaluate_model.py",
        *("--model", folder, "--adapter", folder / "adapter.safetensors", "--strength", 0, "--strength", 1),
        *shared,
        *("--out", tmp_path / "steered.json"),
    )
    (plain,) = json.loads((tmp_path / "plain.json").read_text())
    none, full = json.loads((tmp_path / "steered.json").read_text())
    assert (plain["steering"], none["steering"], full["steering"]) == ("plain", "strength 0", "strength 1")
    for part in ("responses", "text lines.jsonl"):
        assert none[part] == plain[part]
        assert full[part]["tokens"] == plain[part]["tokens"] > 0
        assert abs(full[part]["loss"] - plain[part]["loss"]) > 1e-3
    assert plain["responses"]["examples"] == 20
    page = tmp_path / "page.md"
    page.write_text("<!-- table:strength -->\n<!-- /table -->\n")
    for plot in (tmp_path / "once.svg", tmp_path / "again.svg"):
        run_command("plot_strength.py", "--evaluation", tmp_path / "steered.json", "--page", page, "--out", plot)
    assert (tmp_path / "once.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert f"| 0 | {plain['responses']['perplexity']:.2f} |" in page.read_text()
    refused = run_command(
        "plot_strength.py", "--evaluation", tmp_path / "plain.json", "--out", tmp_path / "none.svg", check=False
    )
    assert "measure at least two with --strength" in refused.stderr


def test_held_out_documents_are_written_and_measured_to_their_last_token(tmp_path: Path, text_file: Path):
    held_out = tmp_path / "held_out.jsonl"
    run_command("write_held_out.py", "--text", text_file, "--held-out-percent", 10, "--out", held_out)
    texts = [json.loads(line)["text"] for line in held_out.read_text().splitlines()]
    assert texts == list(read_documents([TextSource(str(text_file))], "held_out", 10))
    tokenizer = load_tokenizer(TINY / "mha")
    counts = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
    result = tmp_path / "result.json"
    run_command("evaluate_model.py", "--model", TINY / "mha", "--documents", held_out, "--block", 8, "--out", result)
    measured = json.loads(result.read_text())[0]["documents held_out.jsonl"]
    assert measured["tokens"] == sum(counts) > 8
    run_command(
        "evaluate_model.py",
        *("--model", TINY / "mha", "--documents", held_out, "--max-tokens", counts[0] + 3, "--out", result),
    )
    assert json.loads(result.read_text())[0]["documents held_out.jsonl"]["tokens"] == counts[0] + 3


def test_generation_answers_on_standard_output(base_folder: Path, pretuned: Path):
    adapter = ("--adapter", pretuned / "adapter.safetensors")
    result = run_command("generate_text.py", "--model", base_folder, *adapter, "--tokens", 5, "Name a river.")
    assert result.stdout.startswith("> Name a river.\n")


def test_rounding_keeps_an_adapter_and_binds_it_to_the_rounded_backbone(
    tmp_path: Path, base_folder: Path, pretuned: Path
):
    file = pretuned / "adapter.safetensors"
    out = tmp_path / "rounded"
    run_command("round_weights.py", "--model", base_folder, "--adapter", file, "--out", out)
    assert backbone_hash(out) != backbone_hash(base_folder)
    before, _ = load_adapter_for(file, backbone_hash(base_folder))
    after, described = load_adapter_for(out / "adapter.safetensors", backbone_hash(out))
    assert described["stage"] == "pretuned"
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    whole, rounded = load_model(base_folder).state_dict(), load_model(out).state_dict()
    assert all(torch.equal(tensor.bfloat16().float(), rounded[name]) for name, tensor in whole.items())
    refused = run_command(
        "round_weights.py", "--model", out, "--adapter", file, "--out", tmp_path / "again", check=False
    )
    assert refused.status == 2 and "another backbone" in refused.stderr


def write_official(folder: Path, tokenizer_folder: Path, lite: bool) -> SteeredModel:
    """A checkpoint as the official training leaves it: the whole model in one state dict, [PAD] added."""
    tokens = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json")).get_vocab_size() + 1
    model = tiny_steered(lite=lite, vocab_size=tokens)
    with torch.no_grad():  # the new row is the mean of the others
        rows = model.backbone.model.embed_tokens.weight
        rows[-1] = rows[:-1].mean(dim=0)
    state = dict(model.backbone.state_dict()) | official_names(model.adapter.state_dict())
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(tiny_config(vocab_size=tokens).to_hf()))
    names = list(state)
    if not lite:
        torch.save(state, folder / "pytorch_model.bin")
        return model
    halves = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, chosen in halves.items():
        torch.save({name: state[name] for name in chosen}, folder / file)
    weight_map = {name: file for file, chosen in halves.items() for name in chosen}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return model


@pytest.mark.parametrize("lite", [False, True], ids=["full", "lite, sharded"])
def test_an_official_checkpoint_comes_apart_into_backbone_and_adapter(tmp_path: Path, tokenizer_folder: Path, lite):
    model = write_official(tmp_path / "official", tokenizer_folder, lite)
    out = tmp_path / "out"
    run_command(
        "import_toast_checkpoint.py",
        *("--checkpoint", tmp_path / "official", "--tokenizer", tokenizer_folder, "--format", "alpaca", "--out", out),
    )
    backbone = load_model(out / "backbone").eval()
    adapter, described = load_adapter_for(out / "adapter.safetensors", backbone_hash(out / "backbone"))
    assert (described["kind"], described["stage"]) == ("lite" if lite else "full", "tuned")
    assert backbone.config.vocab_size == 513
    assert backbone.config.pad_token_id == 512
    tokenizer = Tokenizer.from_file(str(out / "backbone" / "tokenizer.json"))
    assert tokenizer.encode("[PAD]", add_special_tokens=False).ids == [512]
    assert json.loads((out / "backbone" / "tokenizer_config.json").read_text())["pad_token"] == "[PAD]"
    ids = random_ids(2, 9)
    with torch.inference_mode():
        assert torch.equal(SteeredModel(backbone, adapter)(ids).logits, model(ids).logits)


def test_a_plain_model_is_no_toast_checkpoint(tmp_path: Path, tokenizer_folder: Path):
    torch.save(LlamaForCausalLM(tiny_config()).state_dict(), tmp_path / "plain.bin")
    result = run_command(
        "import_toast_checkpoint.py",
        *("--checkpoint", tmp_path / "plain.bin", "--tokenizer", tokenizer_folder, "--out", tmp_path / "out"),
        check=False,
    )
    assert result.status == 2
    assert "this is no TOAST adapter" in result.stderr
    assert not (tmp_path / "out").exists()


def test_two_sharded_processes_draw_the_curve_of_one(tmp_path: Path, base_folder: Path, text_file: Path):
    """torchrun with FSDP2 over gloo: two processes of batch 2 see what one of batch 4 sees, save for rounding."""

    def arguments(out: Path, *more: object) -> list[str]:
        values = [
            *("--model", base_folder, "--text", text_file, "--cache", tmp_path / "cache", "--block", 32),
            *("--steps", 5, "--learning-rate", 3e-3, "--precision", "fp32", "--gradient-checkpointing"),
            *("--out", out, *more),
        ]
        return [str(value) for value in values]

    alone, together = tmp_path / "alone", tmp_path / "together"
    run_command("pretune_adapter.py", *arguments(alone, "--batch-size", 2, "--accumulate", 2))
    result = torchrun("pretune_adapter.py", arguments(together, "--batch-size", 2, "--accumulate", 1))
    assert result.returncode == 0, result.stderr
    assert json.loads((together / "settings.json").read_text())["world_size"] == 2
    for (step, loss), (same_step, same_loss) in zip(loss_curve(alone), loss_curve(together), strict=True):
        assert step == same_step
        assert loss == pytest.approx(same_loss, abs=2e-4)
    one, two = (load_file(folder / "adapter.safetensors") for folder in (alone, together))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=5e-3, rtol=0)
