"""Command lines of ``flow``, each with the request that it makes and what people see of the answer."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A command line, the request it makes, the answer, and words that people see."""

    words: str
    path: str
    fields: dict[str, object]
    answer: object = {}
    shown: str = ""


MODEL = {
    "model_id": "M1",
    "model_version": "0",
    "role": "guest",
    "party_id": "10000",
    "parties": ["10000/guest", "9999/host"],
    "tasks": [{"task_name": "lr_0"}, {"task_name": "scale_0"}],
}
TASK = {
    "job_id": "J1",
    "task_name": "psi_0",
    "component": "psi",
    "status": "failed",
    "task_version": 1,
    "cause": "no ids",
}
AT = {"role": "guest", "party_id": "10000"}
M1 = {"model_id": "M1", "model_version": "0"}
DEPENDENCY = {
    "component_list": ["reader_0", "psi_0"],
    "dependencies": {"psi_0": [{"component_name": "reader_0", "input_key": "input_data"}]},
}
CASES = [
    Case("job rerun J1", "/v2/job/rerun", {"job_id": "J1"}, shown="runs again"),
    Case("job rerun -j J1 --task a --task b", "/v2/job/rerun", {"job_id": "J1", "task_list": ["a", "b"]}),
    Case("job clean J1", "/v2/job/clean", {"job_id": "J1"}, shown="is erased"),
    Case("job clean-queue", "/v2/job/queue/clean", {}, {"J1": "canceled"}, "J1  canceled"),
    Case("job clean-queue", "/v2/job/queue/clean", {}, {}, "no job was waiting"),
    Case("job approve J1", "/v2/job/approve", {"job_id": "J1"}, shown="is approved"),
    Case("job reject J1 --cause no", "/v2/job/reject", {"job_id": "J1", "cause": "no"}, shown="rejected: no"),
    Case("job add-notes J1 -r guest -p 10000 --notes n", "/v2/job/notes/add", {"job_id": "J1", "notes": "n", **AT}),
    Case(
        "job contract J1",
        "/v2/job/contract",
        {"job_id": "J1"},
        {"plain_words": ["9999/host learns nothing"]},
        "learns nothing",
    ),
    Case(
        "job dependency J1 -r guest -p 10000",
        "/v2/job/dag/dependency",
        {"job_id": "J1", **AT},
        DEPENDENCY,
        "psi_0     reader_0",
    ),
    Case("job dependency J1", "/v2/job/dag/dependency", {"job_id": "J1"}, {"x": 1}, '"x": 1'),
    Case(
        "job list J -s failed --page 2",
        "/v2/job/list/query",
        {"limit": "20", "page": "2", "job_id": "J", "status": "failed"},
        {"data": []},
    ),
    Case(
        "task query J1 -tn psi_0 -s failed -tv 1",
        "/v2/job/task/query",
        {"job_id": "J1", "task_name": "psi_0", "status": "failed", "task_version": "1"},
        [TASK],
        "J1   psi_0  psi        failed  1               no ids",
    ),
    Case("task query -tid J1_psi_0", "/v2/job/task/query", {"task_id": "J1_psi_0"}, [], "no such task"),
    Case("task list -l 5", "/v2/job/task/list/query", {"limit": "5"}, {"data": [TASK]}, "psi_0"),
    Case(
        "log query J1 --log-type task_error -b 5 -e 9",
        "/v2/log/query",
        {"job_id": "J1", "log_type": "task_error", "begin": "6", "end": "9"},
        [],
        "nothing was said",
    ),
    Case(
        "log query J1",
        "/v2/log/query",
        {"job_id": "J1", "log_type": "task_info"},
        [{"ts": 1, "level": "INFO", "message": "hello", "task_name": "psi_0"}],
        "psi_0 - INFO: hello",
    ),
    Case("log query J1 -tn psi_0 -b 5", "/v2/log/query", {"job_id": "J1", "task_name": "psi_0", "begin": "5"}, []),
    Case("log count J1 -tn psi_0 --instance-id x", "/v2/log/count", {"job_id": "J1", "task_name": "psi_0"}, 7, "7"),
    Case(
        "output query-metric-key J1 -tn lr_0",
        "/v2/output/metric/key/query",
        {"job_id": "J1", "task_name": "lr_0"},
        [{"name": "loss"}],
        "loss",
    ),
    Case(
        "output query-metric J1 -tn lr_0",
        "/v2/output/metric/query",
        {"job_id": "J1", "task_name": "lr_0"},
        [{"name": "evaluation", "data": {}}],
        "evaluation: a document",
    ),
    Case("output delete-metric J1 -tn lr_0", "/v2/output/metric/delete", {"job_id": "J1", "task_name": "lr_0"}),
    Case("output delete-model J1 -tn lr_0", "/v2/output/model/delete", {"job_id": "J1", "task_name": "lr_0"}),
    Case(
        "output query-data-table J1 -tn lr_0",
        "/v2/output/data/table",
        {"job_id": "J1", "task_name": "lr_0"},
        {"out": [{"namespace": "n", "name": "t"}]},
        "out",
    ),
    Case(
        "model list", "/v2/model/query", {}, [MODEL], "M1     0        10000/guest  lr_0 scale_0  10000/guest 9999/host"
    ),
    Case("model query -mid M1 -j J1", "/v2/model/query", {"model_id": "M1", "job_id": "J1"}, [], "no models yet"),
    Case(
        "model delete -mid M1 -mv 0 -r guest -p 10000 -tn lr_0 --output-key k",
        "/v2/model/delete",
        {**M1, **AT, "task_name": "lr_0", "output_key": "k"},
    ),
    Case(
        "model deploy -mid M1 -mv 0 --task lr_0",
        "/v2/model/deploy",
        {**M1, "tasks": ["lr_0"]},
        {"yaml": "dag: {}\n"},
        "dag: {}",
    ),
    Case("model store -mid M1", "/v2/model/store", {"model_id": "M1"}, [{"path": "/x"}], "/x"),
    Case("model restore", "/v2/model/restore", {}, [], "the store has no such model"),
    Case(
        "client create-client --app-name a", "/v2/app/client/create", {"app_name": "a"}, {"app_id": "A1"}, "app_id  A1"
    ),
    Case(
        "client delete-client --app-id A1", "/v2/app/client/delete", {"app_id": "A1"}, {"status": True}, "status  true"
    ),
    Case("client query-client --app-id A1", "/v2/app/client/query", {"app_id": "A1"}, [{"app_id": "A1"}], "A1"),
    Case("client create-site -p 9999", "/v2/app/site/create", {"party_id": "9999"}),
    Case("client delete-site -p 9999", "/v2/app/site/delete", {"party_id": "9999"}),
    Case("client query-site -p 9999", "/v2/app/site/query", {"party_id": "9999"}),
    Case(
        "client create-partner -p 9999 --app-id A1 --app-token T",
        "/v2/app/partner/create",
        {"party_id": "9999", "app_id": "A1", "app_token": "T"},
    ),
    Case("client delete-partner -p 9999", "/v2/app/partner/delete", {"party_id": "9999"}),
    Case("client query-partner", "/v2/app/partner/query", {}, [], "there is none"),
    Case("permission grant --app-id A1 --role operator", "/v2/permission/grant", {"app_id": "A1", "role": "operator"}),
    Case("permission delete --app-id A1 -r client", "/v2/permission/delete", {"app_id": "A1", "role": "client"}),
    Case(
        "permission query --app-id A1",
        "/v2/permission/query",
        {"app_id": "A1"},
        {"client": [["job", "submit"]]},
        "client",
    ),
    Case("permission grant-resource -c CONF", "/v2/permission/resource/grant", {"party_id": "9999"}),
    Case("permission delete-resource -c CONF", "/v2/permission/resource/delete", {"party_id": "9999"}),
    Case("permission query-resource -p 9999", "/v2/permission/resource/query", {"party_id": "9999"}),
    Case("provider register -c CONF", "/v2/provider/register", {"party_id": "9999"}),
    Case(
        "provider query --name fate",
        "/v2/provider/query",
        {"name": "fate"},
        [{"provider_name": "fate:2.2.0@local"}],
        "fate:2.2.0@local",
    ),
    Case("provider delete --provider-name x", "/v2/provider/delete", {"provider_name": "x"}, False, "false"),
    Case(
        "provider components psi",
        "/v2/component/query",
        {"name": "psi"},
        [{"name": "psi", "roles": ["guest"]}],
        '"roles": [',
    ),
]
