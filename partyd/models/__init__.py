"""Models that outlive their job: the registry, its archives, and the DAG that predicts with one."""
