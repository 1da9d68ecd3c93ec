"""A run's loss curve as a picture, drawn while it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from toast.plots import pyplot, save_plot

POINTS = 400
"""A long curve is drawn as so many means."""


def draw_losses(out: Path, seconds_left: float) -> None:
    """OUT/loss.svg from loss.jsonl and held_out.jsonl: each step's loss (means of neighbours), the held-out one, and
    the reconstruction loss where there is one. Nothing is drawn before the second step."""
    steps = _rows(out / "loss.jsonl")
    if len(steps) < 2:
        return
    held_out = _rows(out / "held_out.jsonl")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    at, losses = _means(steps, "loss")
    axes.plot(at, losses, linewidth=1, color="#4477aa", label="training")
    if held_out:
        axes.plot(*_columns(held_out, "loss"), "o-", markersize=3, color="#cc3311", label="held out")
    if "reconstruction" in steps[-1]:
        axes.plot(*_means(steps, "reconstruction"), linewidth=1, color="#999933", label="reconstruction")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per token")
    axes.legend(frameon=False)
    state = f"{_duration(seconds_left)} left" if seconds_left > 0 else "finished"
    axes.set_title(f"step {steps[-1]['step']}, {_duration(steps[-1]['seconds'])} of training, {state}", fontsize=10)
    save_plot(figure, out / "loss.svg")


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _columns(rows: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row["step"] for row in rows]), np.array([row[name] for row in rows])


def _means(rows: list[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring steps together, so that a curve of any length has at most POINTS points."""
    steps, values = _columns(rows, name)
    parts = min(POINTS, len(rows))
    return tuple(np.array([part.mean() for part in np.array_split(of, parts)]) for of in (steps, values))  # type: ignore[return-value]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
