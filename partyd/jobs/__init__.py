"""Jobs: a DAG of tasks that several parties run together.

`spec` reads and checks the DAG, `record` is what a party writes down, `control` what the daemons tell each other,
`machine` decides (events in, commands out, no I/O), `supervisor` carries the decisions out, `tasks` and `workers` run
the tasks in processes forked from a warm `forkserver`; `worker` is that process's side.
"""
