"""Where models come from, as the API shows it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from partyd.components import COMPONENTS
from partyd.jobs.lineage import write_lineage
from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler
from tests.api.shopfront import MODEL, SCALED, Front, at_front, write_all


async def as_workers_do(order: WorkOrder, handler: Handler) -> Exit:
    """Write every output, and where it comes from."""
    done = await write_all(order, handler)
    await asyncio.to_thread(write_lineage, order, COMPONENTS[order.component])
    return done


def test_lineage_stands_beside_the_model_and_in_the_registry(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        api.crew.work = as_workers_do
        job = await api.run(SCALED)
        task: dict[str, Any] = {"job_id": job, "role": "guest", "party_id": "10000", "task_name": "scale_0"}
        shown = await api.data("/v2/output/model/query", **task)
        assert shown["output_model"] == MODEL
        lineage = shown["lineage"]
        assert (lineage["job"], lineage["task"], lineage["component"]) == (job, "scale_0", "feature_scale")
        assert [one["task"] for one in lineage["data"]["train_data"]] == ["split_0"]
        assert len(lineage["contract"]) == 64
        (model,) = await api.data("/v2/model/query", model_id=job)
        (entry,) = model["tasks"]
        assert (entry["lineage"], entry["schema_version"]) == (lineage, 1)
        metrics = await api.data("/v2/output/metric/query", **task)
        assert {metric["name"] for metric in metrics} == {"loss", "feature_scale"}
        assert (await api.post("/v2/output/metric/delete", task))[0] == 200
        assert (await api.data("/v2/output/model/query", **task))["lineage"] == lineage
        without_a_model = task | {"task_name": "psi_0"}
        assert "lineage" not in await api.data("/v2/output/model/query", **without_a_model)

    at_front(tmp_path, scene)


def test_a_model_that_was_changed_is_not_predicted_with(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        api.crew.work = as_workers_do
        job = await api.run(SCALED)
        status, reply = await api.post("/v2/model/deploy", {"model_id": job, "model_version": "0"})
        assert status == 200, reply
        predicting = reply["data"]["dag_schema"]
        assert api.node.runner.models is not None
        place = await api.node.runner.models.checked(job, "0", "scale_0", "output_model")
        place.with_suffix(".json").write_text(json.dumps({**MODEL, "changed": True}))
        second = await api.run(predicting)
        why = await api.data("/v2/job/query", job_id=second, role="guest", party_id="10000")
        assert why[0]["status"] == "failed"
        tasks = await api.data("/v2/job/task/query", job_id=second, role="guest", party_id="10000", task_name="scale_0")
        assert "scale_0/output_model.json is missing or not what was kept" in json.dumps(tasks)

    at_front(tmp_path, scene)
