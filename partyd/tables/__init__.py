"""A party's tables: the catalogue, files and databases that become tables, and the local jobs that read them."""
