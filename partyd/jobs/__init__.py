"""Jobs: a DAG of tasks that several parties run together.

`record` is what a party writes down, `control` what the daemons tell each other.
`machine` decides (events in, `commands` out, no I/O): `agreement`, `asking`, `running` and `ending` are the parts of a
job's life, `schedule` says which task is next, `slots` who has cores. `supervisor` is the front: `intake` takes what
peers say, `conductor` carries the decisions out, `tasks` and `workers` run the tasks in processes forked from a warm
`forkserver`; `worker` is that process's side.
"""
