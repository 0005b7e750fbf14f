#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it on the frontend: bash THIS_FILE
@{begin}
@{sent}
asks=squeue
there() { # the id of the job with this tag, whether it waits, runs or has ended
    local of=(-u "$USER")
    [[ $USER == *[!0-9]* ]] || of=() # squeue takes no user without a name
    {
        # A folder's name may hold a line break, and so may another job's comment: each record begins with a character of its own.
        # Names are bytes of any encoding, which sed takes in the locale C only.
        squeue -h -a ${of[@@]+"${of[@@]}"} -t all -o $'\036%i|%k|%o' | tr '\n\036' ' \n' || exit 1
        # Jobs that have ended a while ago, where the cluster keeps accounts.
        sacct -X -n -P -S now-7days -o JobIDRaw,SubmitLine 2>/dev/null || true
    } | LC_ALL=C sed -n "s:^\([0-9][0-9]*\)[^|]*|.*/$1\.sh.*:\1:p; s:^\([0-9][0-9]*\)[^|]*|.*ganhpc\:$1\([| ].*\)\{0,1\}$:\1:p" | sed -n '1p' # scripts are named after their tags
}

taken_as() { # the number of the job, in what sbatch or a wrapper of it prints
    sed -n -e 's/^Submitted batch job \([0-9][0-9]*\).*/\1/p' -e 's/^ *\([0-9][0-9]*\)\(;[A-Za-z0-9_.-]*\)\{0,1\} *$/\1/p'
}

@{submit}

@{steps}
@{left}
