"""``flow model``: the registry of what jobs have trained, at this party."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from partyd.cli import progress
from partyd.cli.flow_context import Flow, columns, example, knows_daemon
from partyd.cli.flow_options import OUT, at_party, perhaps_task
from partyd.client import Party, calls_admin
from partyd.client.call import Download

Command = Callable[..., object]


def _names(*, required: bool) -> Callable[[Command], Command]:
    """Give a command the two words that name a model; a job's model has the job's id, and version 0."""

    def give(command: Command) -> Command:
        version = click.option(
            "-mv", "--model-version", required=required, default=None if required else "", metavar="VERSION",
            help="Its version.",
        )  # fmt: skip
        model_id = click.option(
            "-mid", "--model-id", required=required, default=None if required else "", metavar="ID",
            help="The model: the id of the job that trained it, unless the job said otherwise.",
        )  # fmt: skip
        return model_id(version(command))

    return give


@click.group(epilog=example("flow model list", "flow model deploy -mid 2026... -mv 0 -o predict.yaml"))
def model() -> None:
    """Keep, move and deploy models: each party has its own share of each."""


def _listing(name: str) -> click.Command:
    @click.command(name, epilog=example(f"flow model {name}", f"flow model {name} -mid 20260102030405678901234"))
    @_names(required=False)
    @click.option("-j", "--job-id", default="", metavar="JOB", help="Those of one job.")
    @at_party
    @knows_daemon
    def show(flow: Flow, model_id: str, model_version: str, job_id: str, party: Party) -> None:
        """Show the models here: the tasks that gave them, and for which parties."""
        with flow.client() as client:
            found = client.do(calls_admin.models(party, model_id=model_id, model_version=model_version, job_id=job_id))
        rows = [("model", "version", "here", "tasks", "parties")]
        rows += [_row(each) for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
        flow.answer(found, columns(rows) if len(rows) > 1 else ["no models yet; a job that trains leaves one"])

    return show


model.add_command(_listing("list"))
model.add_command(_listing("query"))


@model.command("export", epilog=example("flow model export -mid 2026... -mv 0 -p 10000 -r guest -o models"))
@_names(required=True)
@OUT
@at_party
@knows_daemon
def export_model(flow: Flow, model_id: str, model_version: str, folder: Path, party: Party) -> None:
    """Write this party's share of a model to one zip in -o, or to a file whose name ends in .zip."""
    _save(flow, calls_admin.export_model(model_id, model_version, party), folder, _file(model_id, model_version, party))


@model.command("import", epilog=example("flow model import -mid 2026... -mv 0 -i models/2026..._0_guest_10000.zip"))
@_names(required=True)
@click.option(
    "-i", "--path", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What flow model export wrote.",
)  # fmt: skip
@knows_daemon
def import_model(flow: Flow, model_id: str, model_version: str, file: Path) -> None:
    """Take in a model that was exported at this party, here or elsewhere."""
    with flow.client() as client, progress.bytes_sent(file.name, file.stat().st_size) as sent:
        found = client.transfer(calls_admin.import_model(model_id, model_version), file, sent, file_name=file.name)
    flow.answer(found, [f"model {model_id} version {model_version} is here"])


@model.command(epilog=example("flow model delete -mid 2026... -mv 0", "flow model delete -mid 2026... -mv 0 -tn lr_0"))
@_names(required=True)
@at_party
@perhaps_task
@click.option("--output-key", "key", default="", metavar="NAME", help="This output only.")
@knows_daemon
def delete(flow: Flow, model_id: str, model_version: str, party: Party, task: str, key: str) -> None:
    """Delete a model, or what one task gave to it."""
    with flow.client() as client:
        found = client.do(calls_admin.delete_model(model_id, model_version, party, task_name=task, output_key=key))
    flow.answer(found, [f"model {model_id} version {model_version} is deleted here{f': {task}' if task else ''}"])


@model.command(
    epilog=example(
        "flow model deploy -mid 2026... -mv 0 -o predict.yaml     (then name the new tables in it and submit it)",
        "flow model deploy -mid 2026... -mv 0 --task psi_0 --task coordinated_lr_0",
    )
)
@_names(required=True)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Keep this task; may be repeated  [all it needs].")
@click.option("-o", "--path", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@at_party
@knows_daemon
def deploy(
    flow: Flow, model_id: str, model_version: str, tasks: tuple[str, ...], file: Path | None, party: Party
) -> None:
    """Give the job that predicts with a model, to be filled with the tables that are to be scored."""
    with flow.client() as client:
        found = client.do(calls_admin.deploy_model(model_id, model_version, party, tasks))
    text = str(found.get("yaml", "")).rstrip("\n")
    if file is None:
        flow.answer(found, [text])
        return
    file.write_text(text + "\n", encoding="utf-8")
    flow.answer({"path": str(file)}, [f"{file} is written; submit it with: flow job submit -c {file}"])


@model.command(epilog=example("flow model migrate -mid 2026... -mv 0 -r guest -p 10001 -o models"))
@_names(required=True)
@click.option("--old-party-id", default="", metavar="ID", help="The id that changes  [the role's only one].")
@OUT
@at_party
@knows_daemon
def migrate(flow: Flow, model_id: str, model_version: str, old_party_id: str, folder: Path, party: Party) -> None:
    """Write a model as export does, for a federation in which the party of role -r has the id -p."""
    call = calls_admin.migrate_model(model_id, model_version, party, old_party_id)
    _save(flow, call, folder, _file(model_id, model_version, party))


@model.command(epilog=example("flow model store -mid 2026... -mv 0"))
@_names(required=False)
@at_party
@knows_daemon
def store(flow: Flow, model_id: str, model_version: str, party: Party) -> None:
    """Keep models in the daemon's store of models as well, where deleting them here leaves them."""
    with flow.client() as client:
        found = client.do(calls_admin.keep_models("store", party, model_id=model_id, model_version=model_version))
    flow.show(found, "there is no such model")


@model.command(epilog=example("flow model restore -mid 2026... -mv 0"))
@_names(required=False)
@at_party
@knows_daemon
def restore(flow: Flow, model_id: str, model_version: str, party: Party) -> None:
    """Take models back from the daemon's store of models."""
    with flow.client() as client:
        found = client.do(calls_admin.keep_models("restore", party, model_id=model_id, model_version=model_version))
    flow.show(found, "the store has no such model")


def _row(each: Mapping[str, object]) -> tuple[str, str, str, str, str]:
    tasks, parties = each.get("tasks"), each.get("parties")
    told = [task for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []
    return (
        str(each.get("model_id", "")),
        str(each.get("model_version", "")),
        f"{each.get('party_id', '')}/{each.get('role', '')}",
        " ".join(str(task.get("task_name", "")) for task in told),
        " ".join(map(str, parties)) if isinstance(parties, list) else "",
    )


def _file(model_id: str, version: str, party: Party) -> str:
    name = "_".join(part for part in (model_id, version, party.role, party.party_id) if part)
    return "".join(mark if mark.isalnum() or mark in "._-" else "_" for mark in name) + ".zip"


def _save(flow: Flow, call: Download, folder: Path, name: str) -> None:
    target = folder if folder.suffix == ".zip" else folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    try:
        with flow.client() as client:
            client.save(call, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    flow.answer({"path": str(target)}, [f"{target} is written"])
