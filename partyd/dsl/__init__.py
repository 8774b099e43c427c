"""FATE 1.x's DSL v2 and runtime configuration, translated into a DAG, with a note for what has no counterpart."""
