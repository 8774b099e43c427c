"""Tables: their schema, their form on disk, and the files they are read from."""
