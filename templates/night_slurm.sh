#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it on the frontend: bash THIS_FILE
set -euo pipefail
# Scripts and launchers of one user, one behind the other: each finds the jobs of those before it.
state=${XDG_STATE_HOME:-~/.local/state}/ganhpc lock=submit-slurm.lock
mkdir -p "$state" && touch "$state/$lock" && exec 9>>"$state/$lock" && flock 9
# Variables of a job, and those that the scheduler's commands take requests from, would change what is submitted.
for name in $(compgen -e | grep -E @{taken} | grep -vxE @{kept}); do unset "$name"; done
@{sent}
there() { # the id of the job with this tag, whether it waits, runs or has ended
    {
        squeue -h -u "$(id -un)" -t all -o '%i|%o' || exit 1
        # Jobs that have ended a while ago, where the cluster keeps accounts.
        sacct -X -n -P -S now-7days -o JobIDRaw,SubmitLine 2>/dev/null || true
    } | sed -n "s:^\([0-9][0-9]*\)|.*/$1\.sh'*$:\1:p" | sed -n '1p' # scripts are named after their tags
}

submit() { # run sbatch, unless a job with this tag is there; print the id of the job, and everything else for the eye
    local tag=$1 run=$2 latest=$3 id
    shift 3
    id=$(there "$tag") || {
        echo "squeue does not say whether this job is there already: nothing more is submitted; run this script again later" >&2
        return 1
    }
    if [ -n "$id" ]; then
        echo "submitted already, as job $id: not submitted again" >&2
        echo "$id"
        return
    fi
    if [ "$latest" -gt 0 ] && [ "$(date +%s)" -gt "$latest" ]; then
        echo "this plan is of the past: from now on, this job would end after the time that the rules leave it. Nothing more is submitted; plan anew with \`python launch.py night\`" >&2
        return 1
    fi
    id=$("$@@" | tee >(cat >&2) | sed -n 's/^Submitted batch job \([0-9][0-9]*\).*/\1/p' | sed -n 1p) || return 1
    [ -n "$id" ] || return 1
    # What the site made of it is read back, as the launcher does: a job that breaks the policy is taken back.
    @{check} "$run" "$tag" "$id" >&2 || return 1
    echo "$id"
}

@{steps}
@{left}
