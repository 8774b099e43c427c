"""Seconds of compute for coordinated LR on scikit-learn's breast cancer table, all roles in one process on one core.

Run: python tests/bench/bench_lr.py [--epochs 10] [--batch-size 300] [--bits 2048]
"""

from __future__ import annotations

import argparse
import asyncio
import time

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from partyd.algorithms import metrics
from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.linear_model import probability, with_ones
from partyd.algorithms.linear_score import LinearScoreParams, Scored, linear_score
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.federation.simulate import simulate
from partyd.types import ARBITER, GUEST, HOST, Address

G, H, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", ARBITER)


def main() -> None:
    """Train, score, and print seconds, bytes and AUC."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=300)
    parser.add_argument("--bits", type=int, default=2048)
    arguments = parser.parse_args()
    x, y = load_breast_cancer(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), y.astype(np.float64)
    params = CoordinatedLrParams.model_validate(
        {
            "epochs": arguments.epochs,
            "batch_size": arguments.batch_size,
            "tol": 0,
            "he_param": {"kind": "paillier", "key_length": arguments.bits},
            "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.15}},
        }
    )
    begun = time.process_time()
    data: dict[Address, object] = {G: Labelled(x[:, :10], y), H: x[:, 10:], A: None}
    done = asyncio.run(simulate(coordinated_lr, params, data))
    seconds = time.process_time() - begun
    w, wh = done.states[G].w, done.states[H].w
    rows: dict[Address, object] = {
        G: Scored(with_ones(x[:, :10]), w),
        H: Scored(x[:, 10:], wh),
    }
    z = asyncio.run(simulate(linear_score, LinearScoreParams(), rows)).states[G].z
    pooled = LogisticRegression(max_iter=1000).fit(x, y).predict_proba(x)[:, 1]
    sent = sum(len(s.body) for s in done.transcript.sent)
    key = f"{arguments.bits}-bit key, obfuscation {params.he_param.obfuscation}"
    print(f"{arguments.epochs} epochs, batch {arguments.batch_size}, {key}: {seconds:.2f} s of CPU")
    print(
        f"{len(done.transcript.sent)} messages, {sent / 1e6:.1f} MB; losses {done.states[G].losses[0]:.4f} -> "
        f"{done.states[G].losses[-1]:.4f}"
    )
    print(f"AUC {metrics.auc(y, probability(z)):.4f}, scikit-learn pooled {metrics.auc(y, pooled):.4f}")


if __name__ == "__main__":
    main()
