"""The training loop: one for every objective, on one process or several, that survives being killed.

An order of operations that never changes: gradients of all micro-batches → sum over processes → clip → optimizer
step → one line in loss.jsonl → maybe a measurement on held-out batches → maybe a checkpoint. Batches are a function of
the step alone and the schedule of the step (or of the time trained), so a checkpoint needs weights, optimizer state,
random state, step and time: after ``kill -9`` a resumed run draws the same curve.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from toast.data import Batch
from toast.files import write_atomically, write_json
from toast.objectives import trainable
from toast.parallel import World, place

Precision = Literal["fp32", "bf16"]

# What may differ between the run that wrote a checkpoint and the one that goes on from it. Everything else would
# change the curve and is refused.
CHANGEABLE = {
    *("minutes", "steps", "warmup", "decay", "floor", "checkpoint_minutes", "compile", "out", "evaluate_steps"),
    "accumulate",  # with the number of processes: what a step sees must stay the same
}
DRAW_SECONDS = 60
"""Drawing takes a second or so: not more often than this, and at the end."""


class TrainingError(ValueError):
    """A run that cannot start or go on. The message is one sentence."""


class Examples(Protocol):
    """Anything that has a batch for every step."""

    def batch(self, step: int, size: int) -> Batch: ...


@dataclass(frozen=True)
class TrainSettings:
    """How to train, whatever the objective. Exactly one of ``steps`` and ``minutes`` is set."""

    out: str
    steps: int | None
    minutes: float | None
    batch_size: int
    accumulate: int
    learning_rate: float
    floor: float  # the learning rate's end, as a share of its peak
    warmup: float  # share of the run
    weight_decay: float
    clip: float
    optimizer: Literal["adamw", "muon"]
    seed: int
    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    checkpoint_minutes: float
    evaluate_steps: int | None = None  # measure the held-out batches that often; None: never
    decay: float | None = None  # share of the run at its end; before it the peak is held. None: a cosine over the run
    vector_rate: float = 1.0  # the vectors' learning rate, as a multiple of the matrices'
    carry_rate: float = 1.0  # the carry maps' learning rate, as a multiple of the other matrices'
    keep: int = 2


def learning_rate(settings: TrainSettings, progress: float) -> float:
    """Linear warm-up, then down to ``floor``; ``progress`` runs from 0 to 1 over the run.

    Down along a cosine; or, where ``decay`` is set, first level at the peak and then straight. A level run can be
    resumed with more steps than it was planned for, as often as there is time, before it is brought down.
    """
    if progress < settings.warmup:
        return settings.learning_rate * max(progress, 1e-3) / settings.warmup
    if settings.decay is not None:
        left = min(1.0, (1.0 - progress) / max(1e-9, settings.decay))
        return settings.learning_rate * (settings.floor + (1.0 - settings.floor) * max(0.0, left))
    position = min(1.0, (progress - settings.warmup) / max(1e-9, 1.0 - settings.warmup))
    share = settings.floor + (1.0 - settings.floor) * 0.5 * (1.0 + math.cos(math.pi * position))
    return settings.learning_rate * share


def make_optimizers(module: nn.Module, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the layers (but carry maps) and AdamW for the rest.

    Vectors (norms, biases, the task embedding) do not decay. Muon's update is scaled to AdamW's size, so both take
    the same learning rate.
    """
    matrices, tables, carries, vectors = [], [], [], []
    for name, parameter in trainable(module):
        if parameter.dim() < 2:
            vectors.append(parameter)
        elif ".carry." in name:
            carries.append(parameter)
        elif "embed_tokens" in name or "lm_head" in name or settings.optimizer == "adamw":
            tables.append(parameter)
        else:
            matrices.append(parameter)
    groups = [
        {"params": tables, "weight_decay": settings.weight_decay, "rate": 1.0},
        {"params": carries, "weight_decay": settings.weight_decay, "rate": settings.carry_rate},
        {"params": vectors, "weight_decay": 0.0, "rate": settings.vector_rate},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    kept = [group for group in groups if group["params"]]
    if kept:
        optimizers.append(torch.optim.AdamW(kept, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True))
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def count_flops(objective: nn.Module, batch: Batch, world: World) -> float | None:
    """Floating-point operations of a training step for each input token, forward and backward, as PyTorch counts the
    matrix products of one example. None where the parameters are sharded."""
    if world.size > 1:
        return None
    batch = batch.to(world.device)
    with FlopCounterMode(display=False) as counter:
        objective(*inputs(batch))["cross_entropy"].backward()
    objective.zero_grad(set_to_none=True)
    return counter.get_total_flops() / batch.ids.numel()


def inputs(batch: Batch) -> tuple[Tensor, ...]:
    """What an objective takes of a batch."""
    return (batch.ids, batch.labels) if batch.bottom_up is None else (batch.ids, batch.labels, batch.bottom_up)


class Trainer:
    """Trains the parameters of ``objective`` that require gradients.

    ``export(tensors, folder)`` writes what the run is for (a model folder, an adapter file) from the full tensors of
    the trained parameters; it runs on the first process at every checkpoint and at the end. ``held_out`` batches are
    measured now and then; what did best on them is exported to OUT/best as well, with best.json saying when that was.
    """

    def __init__(
        self,
        objective: nn.Module,
        examples: Examples,
        settings: TrainSettings,
        world: World,
        export: Callable[[dict[str, Tensor], Path], None],
        described: dict[str, Any],
        held_out: Sequence[Batch] = (),
    ) -> None:
        self.settings, self.world, self.examples, self.export = settings, world, examples, export
        if (settings.steps is None) == (settings.minutes is None):
            raise TrainingError("a run needs --steps or --minutes, and not both")
        if world.size > 1 and settings.optimizer == "muon":
            raise TrainingError("--optimizer muon runs on one process; use adamw with torchrun")
        self.out = Path(settings.out)
        self.described, self.held_out = described, held_out
        self.objective = objective
        self.step, self.seconds = 0, 0.0
        self._drawn_at = time.monotonic()

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self, resume: bool) -> dict[str, float]:
        """Train to the end of the schedule; returns the last step's figures."""
        settings, world = self.settings, self.world
        found = newest_checkpoint(self.out)
        self._refuse_other_folders(found)
        if found is not None and not resume:
            raise TrainingError(f"{self.out} holds a run already: add --resume to go on, or choose another --out")
        torch.manual_seed(settings.seed)
        random.seed(settings.seed)
        np.random.seed(settings.seed % 2**32)
        saved = None if found is None else torch.load(found, map_location="cpu", weights_only=True)
        self.precision = saved["precision"] if saved else choose_precision(settings.precision, self.objective, world)
        place(self.objective, world, self.precision)
        self.optimizers = make_optimizers(self.objective, settings)
        if saved is not None:
            self._restore(saved)
        del saved
        self.flops_per_token = count_flops(self.objective, self.examples.batch(0, 1), world)
        self._describe()
        if settings.compile:
            self.objective.compile()
        self.objective.train()
        figures = self._loop()
        self.checkpoint()
        self._draw()
        return figures

    def _refuse_other_folders(self, found: Path | None) -> None:
        """Processes on several machines go on from one checkpoint: all must find it, or all must end."""
        own = -1 if found is None else int(found.stem.removeprefix("step-"))
        first = self.world.agree(own)
        apart = self.world.sum(torch.tensor([float(own != first)], device=self.world.device))
        if apart.item() > 0:
            raise TrainingError(
                f"--out {self.out} is not one folder: the processes find different checkpoints in it. Name a folder "
                "that all machines share, or bring them to the same state"
            )

    def _loop(self) -> dict[str, float]:
        settings = self.settings
        total = settings.steps if settings.steps is not None else int((settings.minutes or 0) * 60)
        bar = tqdm(
            total=total,
            unit="step" if settings.steps is not None else "s",
            initial=self.step if settings.steps is not None else int(self.seconds),
            disable=not self.world.is_first,
            mininterval=0.5 if sys.stderr.isatty() else 15,
            file=sys.stderr,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]",
        )
        saved_at = time.monotonic()
        curve = _open_curve(self.out / "loss.jsonl", self.step) if self.world.is_first else None
        measured = _open_curve(self.out / "held_out.jsonl", self.step) if self.world.is_first else None
        figures = last_figures(self.out / "loss.jsonl") if self.world.is_first else {}
        with bar, curve or nullcontext(), measured or nullcontext():
            if self.step == 0:
                self._measure(measured)
            while not self._finished():
                started = time.monotonic()
                figures = self._train_step()
                self.step += 1
                self.seconds += self.world.agree(time.monotonic() - started)
                if curve is not None:
                    record = {"step": self.step, "seconds": round(self.seconds, 2), **figures}
                    curve.write(json.dumps(record) + "\n")
                    curve.flush()
                bar.set_postfix_str(
                    f"loss {figures['loss']:.3f}, {figures['tokens'] / (time.monotonic() - started):.0f} tokens/s",
                    refresh=False,
                )
                bar.update(1 if settings.steps is not None else int(self.seconds) - bar.n)
                every = settings.evaluate_steps
                if every is not None and (self.step % every == 0 or self._finished()):
                    started = time.monotonic()
                    self._measure(measured)
                    self.seconds += self.world.agree(time.monotonic() - started)
                due = self.world.agree(time.monotonic() - saved_at) >= settings.checkpoint_minutes * 60
                if due and not self._finished():
                    started = time.monotonic()
                    self.checkpoint()
                    if time.monotonic() - self._drawn_at >= DRAW_SECONDS:
                        self._draw()
                    saved_at = time.monotonic()
                    self.seconds += self.world.agree(saved_at - started)
        return figures

    def _progress(self) -> float:
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.seconds / ((self.settings.minutes or 0) * 60)

    def _finished(self) -> bool:
        return self._progress() >= 1.0

    def _train_step(self) -> dict[str, float]:
        """All micro-batches of one optimizer step."""
        settings, world = self.settings, self.world
        rate = learning_rate(settings, self._progress())
        first = self.step * settings.accumulate
        batches = [
            self.examples.batch((first + micro) * world.size + world.rank, settings.batch_size).to(world.device)
            for micro in range(settings.accumulate)
        ]
        asked = torch.tensor([sum(batch.target_count for batch in batches)], dtype=torch.float64, device=world.device)
        targets = float(world.sum(asked).item())
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with torch.autocast(world.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                parts = self.objective(*inputs(batch))
            # Sharded gradients are averaged over processes, so the sum over targets is scaled back by their number.
            loss = parts["cross_entropy"] * (world.size / targets)
            if "reconstruction" in parts:
                loss = loss + parts["reconstruction"] / settings.accumulate
            loss.backward()
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros((), device=world.device)) + value.detach().float()
        norm = nn.utils.clip_grad_norm_([p for _, p in trainable(self.objective)], settings.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        figures = {"loss": float(world.sum(sums.pop("cross_entropy")).item()) / targets}
        for name, value in sums.items():  # means over micro-batches, so means over all of them
            figures[name] = float(world.sum(value).item()) / (settings.accumulate * world.size)
        if not math.isfinite(figures["loss"]):
            raise TrainingError(f"the loss is {figures['loss']} at step {self.step + 1}: lower --learning-rate")
        full = getattr(norm, "full_tensor", None)
        figures["gradient_norm"] = float(full() if full is not None else norm)
        tokens = float(world.sum(torch.tensor([sum(b.ids.numel() for b in batches)], device=world.device)).item())
        return {**figures, "learning_rate": rate, "tokens": tokens, "targets": targets}

    @torch.no_grad()
    def _measure(self, curve: IO[str] | None) -> None:
        """The loss on the held-out batches; a new best is exported."""
        if not self.held_out or self.settings.evaluate_steps is None:
            return
        self.objective.eval()
        total, targets = 0.0, 0
        for batch in self.held_out:
            batch = batch.to(self.world.device)
            with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                total += float(self.objective(*inputs(batch))["cross_entropy"])
            targets += batch.target_count
        self.objective.train()
        loss = total / targets
        best = self.out / "best" / "best.json"
        is_better = self.world.agree(float(not best.is_file() or loss < json.loads(best.read_text())["loss"])) > 0
        tensors = self._trained_tensors() if is_better else {}
        if curve is not None:
            record = {"step": self.step, "loss": loss, "targets": targets}
            curve.write(json.dumps(record) + "\n")
            curve.flush()
            if is_better:
                best.unlink(missing_ok=True)  # it comes last again: with it the folder is whole
                self.export(tensors, best.parent)
                write_json(best, record)
        self.world.wait()

    def _draw(self) -> None:
        """OUT/loss.svg: the curve so far, and how long the rest will take."""
        if self.world.is_first:
            from toast.loss_curve import draw_losses  # drawing takes a second to import

            left = self.seconds * (1 / max(self._progress(), 1e-9) - 1)
            draw_losses(self.out, 0.0 if self._finished() else left)
        self._drawn_at = time.monotonic()

    # -- state -----------------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Write the state to go on from, then the export; older checkpoints go when the new one is safe."""
        tensors = self._trained_tensors()
        optimizer_options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        states = [get_optimizer_state_dict(self.objective, o, options=optimizer_options) for o in self.optimizers]
        if self.world.is_first:
            state = {
                "step": self.step,
                "seconds": self.seconds,
                "precision": self.precision,
                "settings": asdict(self.settings),
                "world_size": self.world.size,
                "parameters": tensors,
                "optimizers": states,
                "random": {
                    "torch": torch.get_rng_state(),
                    "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                },
            }
            folder = self.out / "checkpoints"
            write_atomically(folder / f"step-{self.step:08d}.pt", lambda path: torch.save(state, path))
            for old in sorted(folder.glob("step-*.pt"))[: -self.settings.keep]:
                old.unlink()
            self.export(tensors, self.out)
        self.world.wait()

    def _trained_tensors(self) -> dict[str, Tensor]:
        """The trained parameters, whole and on the CPU, on the first process."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        trained = {name for name, _ in trainable(self.objective)}
        tensors = get_model_state_dict(self.objective, options=options)
        # A frozen tensor that is tied to another slips through ignore_frozen_params.
        return {name: tensor for name, tensor in tensors.items() if name in trained}

    def _restore(self, saved: dict[str, Any]) -> None:
        now = asdict(self.settings)
        then = {f.name: f.default for f in fields(TrainSettings)} | saved["settings"]  # older ones know fewer
        changed = sorted(key for key in now if key not in CHANGEABLE and now[key] != then.get(key))
        if changed:
            key = changed[0]
            raise TrainingError(f"the run in {self.out} was started with {key}={then.get(key)}, not {now[key]}")
        forwards = then["accumulate"] * saved.get("world_size", self.world.size)
        if forwards != now["accumulate"] * self.world.size:
            raise TrainingError(
                f"the run in {self.out} takes {forwards} batches a step; with {self.world.size} processes --accumulate "
                f"{now['accumulate']} takes {now['accumulate'] * self.world.size}"
            )
        set_model_state_dict(
            self.objective,
            saved["parameters"],
            options=StateDictOptions(full_state_dict=True, ignore_frozen_params=True, strict=False),
        )
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            set_optimizer_state_dict(self.objective, optimizer, state, options=StateDictOptions(full_state_dict=True))
        torch.set_rng_state(saved["random"]["torch"])
        if torch.cuda.is_available() and saved["random"]["cuda"]:
            torch.cuda.set_rng_state_all(saved["random"]["cuda"])
        self.step, self.seconds = saved["step"], saved["seconds"]

    def _describe(self) -> None:
        """Write settings.json: everything that was resolved, beside what the run writes."""
        if not self.world.is_first:
            return
        parameters = trainable(self.objective)
        described = {
            **self.described,
            "training": asdict(self.settings) | {"precision": self.precision},
            "trained_parameters": sum(p.numel() for _, p in parameters),
            "flops_per_token": self.flops_per_token,
            "world_size": self.world.size,
            "device": str(self.world.device),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        }
        write_json(self.out / "settings.json", described)


def newest_checkpoint(out: Path) -> Path | None:
    found = sorted((out / "checkpoints").glob("step-*.pt"))
    return found[-1] if found else None


def last_figures(curve: Path) -> dict[str, float]:
    """The last step of a loss curve, for a run that was finished before it was resumed; empty before the first."""
    lines = curve.read_text().splitlines()
    return json.loads(lines[-1]) if lines else {}


def _open_curve(path: Path, step: int):
    """Open the loss curve for appending, cut back to the step that the run goes on from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    if step > 0 and path.exists():
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (json.JSONDecodeError, KeyError):
                break  # the line that a kill cut short
    write_atomically(path, lambda target: target.write_text("".join(line + "\n" for line in kept)))
    return path.open("a")


def choose_precision(wanted: str, objective: nn.Module, world: World) -> Precision:
    """Resolve 'auto': bf16 on GPUs that have it; on a CPU with bf16 instructions, whichever measures faster."""
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    if world.device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if not _cpu_has_bf16() or world.size > 1:
        return "fp32"
    vocabulary = next(m.num_embeddings for m in objective.modules() if isinstance(m, nn.Embedding))
    ids = torch.randint(0, vocabulary, (2, 257), generator=torch.Generator().manual_seed(0))
    times: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        for _ in range(3):  # the first of each warms up; the fastest counts
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = objective(ids[:, :-1], ids[:, 1:])["cross_entropy"]
            loss.backward()
            elapsed = time.perf_counter() - started
            times[precision] = min(times.get(precision, math.inf), elapsed)
    for _, parameter in trainable(objective):
        parameter.grad = None
    return "bf16" if times["bf16"] < 0.9 * times["fp32"] else "fp32"


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or "bf16" in flags.split("Features", 1)[-1].split("\n", 1)[0]


def limit_threads() -> None:
    """Use the threads that OMP_NUM_THREADS grants, else every core that this process may run on."""
    granted = os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(int(granted) if granted else len(os.sched_getaffinity(0)))
