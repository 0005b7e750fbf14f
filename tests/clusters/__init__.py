"""A real Slurm and a real OAR on this one machine, without containers, and what the tests need around them."""
