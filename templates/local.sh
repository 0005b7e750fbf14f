#!/bin/bash
# A job of ganhpc for the queue of this machine: segment @{segment} of @{run}.
# It can be read, and run by hand: bash THIS_FILE
# All that follows is said in the log of the run.
exec >>@{log} 2>&1

@{setup}
exec @{command}
