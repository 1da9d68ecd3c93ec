"""Hugging Face folders in and out: config.json, weights in one or many files, tokenizer. GGUF files in."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from toast.files import BadFolder, write_atomically, write_json
from toast.gguf_file import open_gguf
from toast.llama import LlamaConfig, LlamaForCausalLM

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
)
SHARD_BYTES = 4 * 10**9
DTYPE_NAMES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder: safetensors before .bin, an index before a single file."""
    for stem, ending in (("model", "safetensors"), ("pytorch_model", "bin")):
        index = folder / f"{stem}.{ending}.index.json"
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise BadFolder(f"{folder}: {index.name} names {missing[0]}, which is not there")
            return [folder / name for name in names]
        single = folder / f"{stem}.{ending}"
        if single.is_file():
            return [single]
    raise BadFolder(f"{folder}: no model.safetensors or pytorch_model.bin (or an index of them) and no .gguf here")


def read_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every (name, tensor) of a folder's weights, a tensor (safetensors, GGUF) or a file (.bin) at a time."""
    gguf = open_gguf(folder)
    if gguf is not None:
        yield from gguf.tensors()
        return
    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
                    yield name, file.get_tensor(name)
        else:
            yield from _unpickle(path).items()


def read_pickled(path: Path) -> dict[str, Tensor]:
    """All tensors of a .bin, of the several that an index names, or of a folder that holds either; memory-mapped."""
    if path.is_dir():
        files = weight_files(path)
        if files[0].suffix != ".bin":
            raise BadFolder(f"{path}: no pytorch_model.bin (or an index of them) here")
    elif path.name.endswith(".bin.index.json"):
        files = [path.parent / name for name in sorted(set(json.loads(path.read_text())["weight_map"].values()))]
    else:
        files = [path]
    tensors: dict[str, Tensor] = {}
    for file in files:
        if not file.is_file():
            raise BadFolder(f"{file} is not there")
        tensors |= _unpickle(file)
    return tensors


def _unpickle(path: Path) -> dict[str, Tensor]:
    """A .bin's tensors. weights_only: it can hold tensors and nothing that runs."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise BadFolder(f"{path}: not a file of tensors ({str(error).splitlines()[0]})") from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise BadFolder(f"{path}: not a state dict (names to tensors)")
    return loaded


def load_config(folder: Path) -> LlamaConfig:
    gguf = open_gguf(folder)
    if gguf is not None:
        return gguf.config
    path = folder / "config.json"
    if not path.is_file():
        raise BadFolder(f"{folder}: no config.json here")
    return LlamaConfig.from_hf(json.loads(path.read_text()))


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """The decoder of a folder or .gguf file with its weights cast to ``dtype``, on the CPU.

    Raises BadFolder for a missing, misshapen or unexpected tensor.
    """
    config = load_config(folder)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    model.to(dtype)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight  # to_empty parts what was tied
    expected = model.state_dict(keep_vars=True)
    seen: set[str] = set()
    with torch.no_grad():
        for name, tensor in read_tensors(folder):
            if name.endswith("rotary_emb.inv_freq"):
                continue  # saved by old versions; computed here
            if name not in expected:
                raise BadFolder(f"{folder}: unexpected tensor '{name}'")
            if expected[name].shape != tensor.shape:
                raise BadFolder(
                    f"{folder}: tensor '{name}' has shape {list(tensor.shape)}, not {list(expected[name].shape)}"
                )
            expected[name].copy_(tensor)
            seen.add(name)
    if config.tie_word_embeddings and "model.embed_tokens.weight" in seen:
        seen.add("lm_head.weight")
    missing = sorted(set(expected) - seen)
    if missing:
        raise BadFolder(f"{folder}: tensor '{missing[0]}' is missing ({len(missing)} in all)")
    return model


def copy_tokenizer(model: Path, folder: Path) -> None:
    """Copy the tokenizer's files and how to sample from beside a weights, the chat template also from within."""
    beside = model.parent if model.suffix == ".gguf" else model
    for name in TOKENIZER_FILES:
        if (beside / name).is_file():
            shutil.copyfile(beside / name, folder / name)
    gguf = open_gguf(model)
    brought = None if gguf is None else gguf.chat_template()
    if brought is None or (folder / "chat_template.jinja").is_file():
        return
    template, special_tokens = brought
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    if not config.get("chat_template"):
        write_json(path, {**special_tokens, **config, "chat_template": template})


def save_model(
    tensors: dict[str, Tensor],
    config: LlamaConfig,
    folder: Path,
    *,
    tokenizer_from: Path | None = None,
    dtype: torch.dtype | None = None,
    shards: int | None = None,
) -> None:
    """Write a folder that ``transformers``, the converter and ``load_model`` read.

    ``tensors`` is a full state dict; a tied output head is left out. ``dtype`` None keeps each tensor's own.
    ``shards`` None takes as many files as 4 GB each allow. Each file appears whole; config.json comes last, so a
    folder with a config is a complete one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tied = config.tie_word_embeddings
    kept = {name: tensor.detach() for name, tensor in tensors.items() if not (tied and name == "lm_head.weight")}
    if tokenizer_from is not None and tokenizer_from.resolve() != folder.resolve():
        copy_tokenizer(tokenizer_from, folder)
    size = sum(tensor.numel() * (dtype or tensor.dtype).itemsize for tensor in kept.values())
    files = shards or -(-size // SHARD_BYTES)
    if files == 1:
        _save_tensors(kept, folder / "model.safetensors", dtype)
    else:
        names = list(kept)
        per_file = -(-len(names) // files)
        weight_map: dict[str, str] = {}
        for number in range(files):
            chosen = names[number * per_file : (number + 1) * per_file]
            file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
            _save_tensors({name: kept[name] for name in chosen}, folder / file, dtype)
            weight_map |= dict.fromkeys(chosen, file)
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)
    written = dtype or kept["model.embed_tokens.weight"].dtype
    write_json(folder / "config.json", config.to_hf(DTYPE_NAMES[written]))


def _save_tensors(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    # A copy each: safetensors refuses tensors that share memory, as those of a mapped file or of tied weights may.
    own = {name: tensor.to("cpu", dtype or tensor.dtype).contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, lambda target: save_file(own, target, metadata={"format": "pt"}))
