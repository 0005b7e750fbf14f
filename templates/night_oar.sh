#!/bin/bash
# The night of @{day}: @{count} jobs for @{place} under the policy @{policy}.
# Read it, then run it on the frontend: bash THIS_FILE
@{begin}
@{sent}
asks=oarstat
there() { # the id of the job with this tag, whether it waits, runs or has ended; a site may rename jobs, and scripts are named after their tags
    oarstat --sql "job_name = 'ganhpc:$1' OR command LIKE '%/$1.sh%'" | sed -n 's/^\([0-9][0-9]*\) .*/\1/p' | sed -n '$p'
}

taken_as() { # the number of the job, in what oarsub prints
    sed -n 's/^OAR_JOB_ID=\([0-9][0-9]*\)$/\1/p'
}

@{submit}

@{steps}
@{left}
