"""Keys, number encodings and arithmetic on hidden numbers; no I/O, no clock, randomness passed in."""
