"""ganhpc: batch jobs that train networks on shared GPUs under tight rules (OAR, Slurm, or this machine)."""

__version__ = "0.1.0"
