"""What the tables of a data asset are made of, whichever stage makes one."""
