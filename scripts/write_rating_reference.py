"""Write test/arena/ratings/reference.json: figures that the arena's statistics are held against.

Every figure comes from a library that shares no line with src/arena/ratings: Bradley-Terry from choix, length
control from statsmodels' logistic regression, sign tests from scipy, bootstrap intervals from NumPy's generator and
choix. Pins: requirements-ratings.txt. Takes a few minutes.

example:
  python write_rating_reference.py --out ../test/arena/ratings/reference.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

CONTESTANTS = ["base", "steered", "rival", "vicuna"]
STRENGTHS = np.array([-0.6, 0.4, 0.1, 0.5])
LENGTH_EFFECT = 0.8


def make_matches(count: int, seed: int) -> list[list]:
    """Rows [left, right, winner, left characters, right characters].

    Drawn from known strengths and a known liking for length.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        left, right = (int(i) for i in generator.choice(len(CONTESTANTS), size=2, replace=False))
        lengths = np.exp(generator.normal(5 + 0.3 * STRENGTHS[[left, right]], 0.6)).astype(int) + 1
        odds = STRENGTHS[left] - STRENGTHS[right] + LENGTH_EFFECT * np.tanh((lengths[0] - lengths[1]) / 150)
        if generator.random() < 0.2:
            winner = "tie" if generator.random() < 0.6 else "bothBad"
        else:
            winner = "left" if generator.random() < 1 / (1 + np.exp(-odds)) else "right"
        rows.append([CONTESTANTS[left], CONTESTANTS[right], winner, int(lengths[0]), int(lengths[1])])
    return rows


def score_of(winner: str) -> float:
    return {"left": 1.0, "right": 0.0, "tie": 0.5, "bothBad": 0.5}[winner]


def numbered(rows: list[list], names: list[str]) -> list[tuple[int, int, float, int]]:
    return [(names.index(a), names.index(b), score_of(w), la - lb) for a, b, w, la, lb in rows]


def bradley_terry(games: list[tuple[int, int, float, int]], size: int) -> np.ndarray:
    """Maximum likelihood by choix; every game twice, so that a tie is one win each way."""
    import choix  # here, so that --help needs nothing but NumPy

    wins: list[tuple[int, int]] = []
    for i, j, score, _ in games:
        wins += [(i, j)] * round(2 * score) + [(j, i)] * round(2 * (1 - score))
    strengths = choix.opt_pairwise(size, wins, alpha=0, method="Newton-CG", tol=1e-12)
    return strengths - strengths.mean()


def length_controlled(games: list[tuple[int, int, float, int]], size: int) -> tuple[np.ndarray, float]:
    """Logistic regression on who plays, and on tanh of the standardised difference in length.

    The first contestant is the zero.
    """
    import statsmodels.api as sm

    by_pair: dict[tuple[int, int], list[int]] = {}
    for i, j, _, delta in games:
        by_pair.setdefault((min(i, j), max(i, j)), []).append(delta if i < j else -delta)
    squares = sum(float(np.sum((np.array(d) - np.mean(d)) ** 2)) for d in by_pair.values())
    scale = np.sqrt(squares / (len(games) - len(by_pair)))
    design = np.zeros((len(games), size))
    for row, (i, j, _, delta) in enumerate(games):
        if i > 0:
            design[row, i - 1] += 1
        if j > 0:
            design[row, j - 1] -= 1
        design[row, size - 1] = np.tanh(delta / scale)
    target = np.array([score for _, _, score, _ in games])
    fit = sm.GLM(target, design, family=sm.families.Binomial()).fit(tol=1e-13, maxiter=200)
    strengths = np.concatenate([[0.0], fit.params[:-1]])
    return strengths - strengths.mean(), float(fit.params[-1])


def bootstrap(games: list, size: int, rounds: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    samples = np.array(
        [
            bradley_terry([games[k] for k in generator.integers(len(games), size=len(games))], size)
            for _ in range(rounds)
        ]
    )
    return np.percentile(samples, 2.5, axis=0), np.percentile(samples, 97.5, axis=0)


def case(rows: list[list], rounds: int) -> dict:
    names = sorted({name for row in rows for name in row[:2]})
    games = numbered(rows, names)
    controlled, effect = length_controlled(games, len(names))
    elo = 400 / np.log(10)
    low, high = bootstrap(games, len(names), rounds, seed=11)
    return {
        "matches": rows,
        "contestants": names,
        "ratings": (1000 + elo * bradley_terry(games, len(names))).tolist(),
        "low": (1000 + elo * low).tolist(),
        "high": (1000 + elo * high).tolist(),
        "lengthControlledRatings": (1000 + elo * controlled).tolist(),
        "lengthEffect": effect,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("../test/arena/ratings/reference.json"))
    parser.add_argument("--rounds", type=int, default=2000)
    options = parser.parse_args()
    from scipy.stats import binomtest

    rows = make_matches(400, seed=7)
    two = [row for row in make_matches(900, seed=8) if {row[0], row[1]} == {"base", "steered"}]
    sign_cases = [(0, 0), (1, 0), (5, 0), (7, 3), (20, 6), (55, 47), (300, 240), (1200, 900), (2, 2)]
    reference = {
        "madeBy": "scripts/write_rating_reference.py",
        "four": case(rows, options.rounds),
        "two": case(two, options.rounds),
        "signTests": [
            {"wins": wins, "losses": losses, "p": binomtest(wins, wins + losses).pvalue if wins + losses else 1.0}
            for wins, losses in sign_cases
        ],
    }
    options.out.write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
