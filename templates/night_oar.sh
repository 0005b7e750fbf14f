#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it on the frontend: bash THIS_FILE
set -euo pipefail
# Variables of a job, and those that the scheduler's commands take requests from, would change what is submitted.
for name in $(compgen -e | grep -E @{taken} | grep -vxE @{kept}); do unset "$name"; done
@{sent}
submit() { # run oarsub; print the id of its job, and everything else for the eye
    "$@@" | tee >(cat >&2) | sed -n 's/^OAR_JOB_ID=\([0-9][0-9]*\)$/\1/p'
}

@{steps}
@{left}
