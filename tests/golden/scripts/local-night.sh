#!/bin/bash
# The night of Monday 23 November 2026: 2 jobs for the queue of this machine under the policy student.
# Read it, then run it: bash THIS_FILE runs them here, one after another, at once
set -uo pipefail

submit() { # run one job to its end; a job that fails does not keep the next from running
    shift 4 # its tag, its folder, its last moment and the jobs before it: a run that is done, or that another job trains, is left alone by the job itself
    "$@" || echo "ended with code $?" >&2
}

# 1. Mon 23 Nov 19:01:00 - 20:01:00: segment 1 of default-256k-0123456789 (queue)
#    It starts at 19:01 because.
job1=$(submit beefcafe-1-00ff '/home/student/my runs/cifar/default-256k-0123456789' 0 "" bash '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh')

# 2. Mon 23 Nov 20:01:00 - 21:01:00: segment 2 of default-256k-0123456789 (queue)
#    It starts at 20:01 because.
job2=$(submit beefcafe-2-00ff '/home/student/my runs/cifar/default-256k-0123456789' 0 "$job1" bash '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-2-00ff.sh')
# Left over: 60 s of began-1: no more fits.
