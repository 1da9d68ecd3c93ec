"""Training on several machines: torchrun with a rendezvous, each machine a torchrun of its own, on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import SCRIPTS, environment, loss_curve, run_command

TOLERANCE = 2e-4
"""Of a loss: sums over processes are taken in another order than within one."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def on_hosts(name: str, arguments: list[list[object]], processes: int) -> list[tuple[int, str]]:
    """A command on as many hosts as there are lists of arguments. Returns each host's exit status and stderr."""
    endpoint = f"127.0.0.1:{free_port()}"
    hosts = []
    for number, own in enumerate(arguments):
        launcher = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", str(len(arguments))),
            *("--node-rank", str(number), "--nproc-per-node", str(processes), "--local-addr", "127.0.0.1"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", "hosts"),
        ]
        hosts.append(
            subprocess.Popen(
                [*launcher, str(SCRIPTS / name), *map(str, own)],
                env=environment() | {"GLOO_SOCKET_IFNAME": "lo"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        said = [host.communicate(timeout=300)[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    return [(host.returncode, text) for host, text in zip(hosts, said, strict=True)]


def test_two_hosts_draw_the_curve_of_one_process_and_go_on_as_any_number(
    tmp_path: Path, base_folder: Path, text_file: Path
):
    """Two hosts of two processes begin, two of one go on, one process ends it: the curve of one process alone.

    Each host tokenizes for itself; the folder of the result is shared.
    """

    def arguments(out: Path, accumulate: int, steps: int, host: int = 0) -> list[object]:
        return [
            *("--model", base_folder, "--text", text_file, "--cache", tmp_path / f"cache-{host}", "--block", 32),
            *("--learning-rate", 3e-3, "--warmup", 0, "--decay", 0, "--precision", "fp32", "--evaluate-steps", 0),
            *("--batch-size", 2, "--accumulate", accumulate, "--steps", steps, "--out", out, "--resume"),
        ]

    alone, moved = tmp_path / "alone", tmp_path / "moved"
    run_command("pretune_adapter.py", *arguments(alone, 4, 9))
    for processes, accumulate, steps in ((2, 1, 3), (1, 2, 6)):
        hosts = [arguments(moved, accumulate, steps, host) for host in range(2)]
        for status, said in on_hosts("pretune_adapter.py", hosts, processes):
            assert status == 0, said[-3000:]
        assert json.loads((moved / "settings.json").read_text())["world_size"] == 2 * processes
        assert loss_curve(moved)[-1][0] == steps
    run_command("pretune_adapter.py", *arguments(moved, 4, 9))
    for (step, loss), (same_step, same_loss) in zip(loss_curve(alone), loss_curve(moved), strict=True):
        assert step == same_step
        assert loss == pytest.approx(same_loss, abs=TOLERANCE)
    one, other = (load_file(folder / "adapter.safetensors") for folder in (alone, moved))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=5e-3, rtol=0)


def test_hosts_that_do_not_share_the_result_do_not_go_on_apart(tmp_path: Path, base_folder: Path, text_file: Path):
    """The first host has a checkpoint and the other one none: both say so, and neither trains."""

    def arguments(host: int, accumulate: int, steps: int) -> list[object]:
        return [
            *("--model", base_folder, "--text", text_file, "--cache", tmp_path / "cache", "--block", 32),
            *("--precision", "fp32", "--evaluate-steps", 0, "--batch-size", 2, "--accumulate", accumulate),
            *("--steps", steps, "--out", tmp_path / f"host-{host}", "--resume"),
        ]

    run_command("pretune_adapter.py", *arguments(0, 2, 2))
    hosts = [arguments(host, 1, 4) for host in range(2)]
    ended = on_hosts("pretune_adapter.py", hosts, processes=1)
    assert all(status != 0 for status, _ in ended)
    assert "is not one folder" in "".join(said for _, said in ended)
    assert loss_curve(tmp_path / "host-0")[-1][0] == 2
