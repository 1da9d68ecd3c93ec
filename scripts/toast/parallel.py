"""One process or many: who this process is, and how a model is spread over several with PyTorch's FSDP2."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among those that torchrun started; rank 0 of 1 when it started none."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @staticmethod
    def join() -> World:
        """Join the processes of torchrun (NCCL on GPUs, gloo on CPUs), or stand alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        cuda = torch.cuda.is_available()
        if size == 1:
            return World(0, 1, torch.device("cuda" if cuda else "cpu"))
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if cuda else "gloo")
        return World(distributed.get_rank(), size, device)

    def leave(self) -> None:
        """The last call of a command: one of several processes ends here, with status 0."""
        if self.size == 1 or not distributed.is_initialized():
            return
        distributed.destroy_process_group()
        # Not by way of the interpreter's own end: gloo's threads outlive the group while a sharded model refers to it,
        # and one that reaches for the interpreter while that ends aborts the process (one run of twenty on a busy
        # machine: "terminate called without an active exception"), after all is written.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agree(self, value: float) -> float:
        """The first process's value, for decisions that all must take alike (a clock, for instance)."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()


def place(objective: nn.Module, world: World, precision: str) -> None:
    """Move an objective to this process's device; with several processes, shard it in place.

    Every decoder and feedback layer is a unit that is gathered only while it runs; the rest belongs to the root. A
    unit that can be entered by more than ``forward`` says so, and FSDP's gathering surrounds each way in.
    """
    if world.size == 1:
        objective.to(world.device)
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for module in reversed(list(objective.modules())):  # units inside units first
        entries = getattr(type(module), "other_entries", None)
        if entries is not None:
            fully_shard(module, mesh=mesh, mp_policy=policy)
            for entry in entries:
                register_fsdp_forward_method(module, entry)
    fully_shard(objective, mesh=mesh, mp_policy=MixedPrecisionPolicy())
