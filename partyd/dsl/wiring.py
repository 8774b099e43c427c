"""How the components of a 1.x job are connected, said in 2.x's way: ports, stages, stored models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from partyd.components.base import JsonObject
from partyd.dag.places import nearest, shown
from partyd.dsl.conf import Dsl, Node, RuntimeConf
from partyd.dsl.local_parameters import SCORED_AT_GUEST
from partyd.dsl.modules import MODULES, Module
from partyd.dsl.notes import Log

MAX_FOLDED = 500
SPLIT_OUTPUTS = ("train_output_data", "validate_output_data", "test_output_data")
DATA_PORTS = {
    "source": "",
    "plain": "input_data",
    "split": "input_data",
    "several": "input_datas",
    "judge": "input_datas",
}
STORED = "pipeline"
"""How a 1.x prediction calls the model that it was deployed from: ``pipeline.hetero_lr_0.model``."""


@dataclass(frozen=True)
class Wiring:
    """Finds the sources of a component's inputs; what cannot be found goes into ``log``."""

    dsl: Dsl
    conf: RuntimeConf
    log: Log

    def readers_of_scores(self) -> frozenset[str]:
        """Return the components that read nothing but predictions which the guest alone has, or what came of them."""
        shapes = {name: MODULES[node.module] for name, node in self.dsl.components.items() if node.module in MODULES}
        made = {name for name, module in shapes.items() if module.component in SCORED_AT_GUEST}
        reads = {
            name: {reference.partition(".")[0] for references in node.input.data.values() for reference in references}
            for name, node in self.dsl.components.items()
            if name in shapes and name not in made
        }
        found: set[str] = set()
        while more := {name for name, read in reads.items() if name not in found and read and read <= made | found}:
            found |= more
        return frozenset(name for name in found if shapes[name].shape != "judge")

    def stage(self, name: str, node: Node) -> str:
        """Return the stage of a task by what it reads, as 1.x finds it."""
        data = node.input.data
        if self.conf.predicts or "test_data" in data or (node.input.model and not data.keys() & {"train_data"}):
            return "predict"
        cv = self.conf.component_parameters.common.get(name, {}).get("cv_param")
        return "cross_validation" if isinstance(cv, dict) and cv.get("need_cv") is True else "train"

    def data_inputs(self, name: str, node: Node, stage: str) -> JsonObject:
        module, inputs = MODULES[node.module], dict[str, Any]()
        main = {"train": "train_data", "cross_validation": "cv_data"}.get(stage, "test_data")
        for key, references in node.input.data.items():
            where = f"dsl.components.{name}.input.data.{key}"
            port = DATA_PORTS.get(module.shape, "")
            if module.shape == "trained":
                if key in {"validate_data", "eval_data"}:
                    if stage != "train":
                        self.log.note(where, "validation rows are not read in this stage")
                        continue
                    port = "validate_data"
                    self.log.note(where, "validation rows are scored apart: their scores are validate_output_data")
                else:
                    port = main
            if not port:
                self.log.note(where, "it reads no table here")
                continue
            sources = [s for i, r in enumerate(references) if (s := self.data_source(r, f"{where}.{i}"))]
            inputs.setdefault(port, {"task_output_artifact": []})["task_output_artifact"] += sources
        return inputs

    def data_source(self, reference: str, where: str) -> JsonObject | None:
        """Return the 2.x source of a data reference, through whatever is folded away."""
        for _ in range(MAX_FOLDED):
            name, _, output = reference.partition(".")
            node = self.dsl.components.get(name)
            if node is None:
                self.log.unknown(where, "component", name, self.dsl.components)
                return None
            if output not in node.output.data:
                hint = nearest(output, node.output.data)
                self.log.wrong(where, f"{shown(name)} has no data output {shown(output)}", hint)
                return None
            module = MODULES.get(node.module)
            if module is None:
                return None
            if module.shape != "folded":
                return {"producer_task": name, "output_artifact_key": self.output(name, node, module, output)}
            read = [r for references in node.input.data.values() for r in references]
            if len(read) != 1:
                self.log.wrong(f"dsl.components.{name}.input.data", f"it reads {len(read)} tables", "connect it to one")
                return None
            reference = read[0]
        self.log.wrong(where, "what is folded away goes round in a circle", "connect the first of it to a Reader")
        return None

    def output(self, name: str, node: Node, module: Module, output: str) -> str:
        if module.shape == "split":
            named = {"train_data": 0, "validate_data": 1, "test_data": 2}
            return SPLIT_OUTPUTS[min(named.get(output, node.output.data.index(output)), 2)]
        if module.shape == "trained":
            stage = self.stage(name, node)
            main = {"train": "train_output_data", "cross_validation": "cv_output_datas"}
            return main.get(stage, "test_output_data")
        return "output_data"

    def model_inputs(self, name: str, node: Node, stage: str) -> JsonObject:
        module, where = MODULES[node.module], f"dsl.components.{name}.input"
        if module.shape != "trained":
            for key in ("model", "isometric_model"):
                if getattr(node.input, key) and not self.conf.predicts:
                    self.log.note(f"{where}.{key}", f"{module.component} reads no model here")
            return {}
        if self.conf.predicts:
            stored = {"producer_task": self.trained_as(name, node), "output_artifact_key": module.model}
            return {"input_model": {"model_warehouse": stored}}
        inputs: JsonObject = {}
        own = [s for i, r in enumerate(node.input.model) if (s := self.model_source(r, f"{where}.model.{i}"))]
        if own:
            port = "input_model" if stage == "predict" else "warm_start_model"
            inputs[port] = {"task_output_artifact": own[0]}
        others = [
            s
            for i, r in enumerate(node.input.isometric_model)
            if (s := self.model_source(r, f"{where}.isometric_model.{i}"))
        ]
        if others:
            inputs["input_models"] = {"task_output_artifact": others}
        return inputs

    def trained_as(self, name: str, node: Node) -> str:
        """Return the task whose stored model a prediction's task reads: the one that it names, or its namesake."""
        for reference in node.input.model:
            parts = reference.removeprefix(f"{STORED}.").split(".")
            if len(parts) == 2:
                return parts[0]
        return name

    def model_source(self, reference: str, where: str) -> JsonObject | None:
        name, _, output = reference.partition(".")
        node = self.dsl.components.get(name)
        if node is None:
            self.log.unknown(where, "component", name, self.dsl.components)
            return None
        if output not in node.output.model:
            self.log.wrong(
                where, f"{shown(name)} has no model output {shown(output)}", nearest(output, node.output.model)
            )
            return None
        module = MODULES.get(node.module)
        if module is None or module.shape == "folded":
            return None
        return {"producer_task": name, "output_artifact_key": module.model}
