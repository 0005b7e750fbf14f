"""Schedulers: local, Slurm, OAR; one file each."""
