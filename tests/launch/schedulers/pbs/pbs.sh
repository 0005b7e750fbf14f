#!/bin/bash
# A job of ganhpc for PBS: segment @{segment} of @{run}.
# It can be read, and submitted by hand: qsub THIS_FILE
# All that follows is said in the log of the run.
exec >>@{log} 2>&1

@{setup}
exec @{command}
