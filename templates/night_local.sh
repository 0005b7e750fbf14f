#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it: bash THIS_FILE runs them here, one after another, at once
set -uo pipefail
@{sent}
submit() { # run one job to its end; a job that fails does not keep the next from running
    shift 4 # its tag, its folder, its last moment and the jobs before it: a run that is done, or that another job trains, is left alone by the job itself
    "$@@" || echo "ended with code $?" >&2
}

@{steps}
@{left}
