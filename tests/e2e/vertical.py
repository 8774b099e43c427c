"""The vertical training that end-to-end tests and campaigns run: scikit-learn's breast-cancer table in two parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

GUEST_COLUMNS = range(10)
HOST_COLUMNS = range(10, 30)


def tables() -> tuple[str, str]:
    """Return the guest's CSV (with label y) and the host's; each lacks some of the other's ids."""
    data = load_breast_cancer()
    chance = np.random.default_rng(7)
    ids = [f"user-{i:06d}" for i in chance.permutation(len(data.target))]
    kept = [chance.permutation(np.flatnonzero(chance.random(len(ids)) < 0.9)) for _ in range(2)]

    def csv(rows: NDArray[np.int64], columns: range, has_label: bool) -> str:
        lines = [",".join(["id", *(["y"] if has_label else []), *(f"x{c}" for c in columns)])]
        for row in rows:
            label = [str(data.target[row])] if has_label else []
            lines.append(",".join([ids[row], *label, *(repr(float(v)) for v in data.data[row, list(columns)])]))
        return "\n".join(lines) + "\n"

    return csv(kept[0], GUEST_COLUMNS, True), csv(kept[1], HOST_COLUMNS, False)


def dag(epochs: int = 6, batch_size: int | None = None) -> dict[str, Any]:
    """Return the job; with whole batches and zero initial weights its model does not depend on any random draw."""
    parties = [
        {"role": "guest", "party_id": ["10000"]},
        {"role": "host", "party_id": ["9999"]},
        {"role": "arbiter", "party_id": ["9998"]},
    ]
    lr = {
        "epochs": epochs,
        "batch_size": batch_size,
        "early_stop": "weight_diff",
        "tol": 1e-9,
        "init_param": {"method": "zeros", "fit_intercept": True},
        "learning_rate_scheduler": {"method": "constant", "scheduler_params": {"factor": 1.0}},
        "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.001, "optimizer_params": {"lr": 0.5}},
    }
    return {
        "parties": parties,
        "stage": "train",
        "party_tasks": {
            f"{name}_0": {
                "parties": [parties[at]],
                "tasks": {"reader_0": {"parameters": {"namespace": "demo", "name": name}}},
            }
            for at, name in enumerate(("guest", "host"))
        },
        "tasks": {
            "reader_0": {"component_ref": "reader", "parameters": {"namespace": "demo", "name": "own"}},
            "psi_0": _task("psi", input_data=("reader_0", "output_data")),
            "scale_0": _task("feature_scale", train_data=("psi_0", "output_data")),
            "lr_0": _task("coordinated_lr", train_data=("scale_0", "train_output_data")) | {"parameters": lr},
            "eval_0": _task("evaluation", input_datas=("lr_0", "train_output_data")),
        },
    }


def _task(component: str, **inputs: tuple[str, str]) -> dict[str, Any]:
    data = {
        port: {"task_output_artifact": {"producer_task": task, "output_artifact_key": key}}
        for port, (task, key) in inputs.items()
    }
    return {"component_ref": component, "inputs": {"data": data}}
