"""The DAG: a job as its user writes it, in FATE 2.x's form; checked with every mistake at once."""
