#!/bin/bash
# The night of Monday 23 November 2026: 2 jobs for Slurm under the policy student.
# Read it, then run it on the frontend: bash THIS_FILE
set -euo pipefail

submit() { # run sbatch; print the id of its job, and everything else for the eye
    "$@" | tee >(cat >&2) | sed -n 's/^Submitted batch job \([0-9][0-9]*\).*/\1/p'
}

# 1. Mon 23 Nov 19:01:00 - 20:01:00: segment 1 of default-256k-0123456789 (begin)
#    It starts at 19:01 because.
job1=$(submit sbatch '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh')

# 2. Mon 23 Nov 20:01:00 - 21:01:00: segment 2 of default-256k-0123456789 (chain)
#    It starts at 20:01 because.
job2=$(submit sbatch --dependency=singleton,afterany:"$job1" '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-2-00ff.sh')
# Left over: 60 s of began-1: no more fits.
