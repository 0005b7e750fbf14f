#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it on the frontend: bash THIS_FILE
set -euo pipefail
for name in $(compgen -e | grep -E @{taken} | grep -vxE @{kept}); do unset "$name"; done
@{sent}
submit() { # run qsub; print the id of the job
    shift 2
    "$@@"
}

@{steps}
@{left}
