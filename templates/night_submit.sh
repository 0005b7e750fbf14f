submit() { # run a command of the scheduler, unless a job with this tag is there; print the id of the job, and everything else for the eye
    local tag=$1 run=$2 latest=$3 behind=$4 id
    shift 4
    id=$(there "$tag") || {
        echo "$asks does not say whether this job is there already: nothing more is submitted; run this script again later" >&2
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
    # Jobs that have come since the plan may have taken this one's place: the queue is asked, as the launcher does. From the program's own
    # folder: a path with a colon is two in PYTHONPATH.
    # shellcheck disable=SC2086 # numbers of jobs, each a word of its own
    (cd @{root} && @{place} "$run" "$tag" "$latest" $behind) >&2 || return 1
    id=$("$@@" | tee >(cat >&2) | taken_as | sed -n 1p) || return 1
    [ -n "$id" ] || return 1
    # What the site made of it is read back, as the launcher does: a job that breaks the policy, or was taken too late, is taken back.
    # shellcheck disable=SC2086
    (cd @{root} && @{check} "$run" "$tag" "$id" "by=$latest" $behind) >&2 || return 1
    echo "$id"
}
