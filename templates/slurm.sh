#!/bin/bash
# A job of ganhpc for Slurm: segment @{segment} of @{run}.
# It can be read, and submitted by hand: sbatch THIS_FILE
@{directives}

@{setup}
# Since Slurm 22.05 srun doesn't take this from sbatch.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
# One task a node, which starts torchrun where there is more than one process: it hears the signals that srun passes on.
# The task has this script's variables, whatever --export says of the job's.
exec srun --export=ALL --ntasks-per-node=1 --kill-on-bad-exit=1@{own} @{command}
