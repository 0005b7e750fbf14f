#!/bin/bash
# A job of ganhpc for OAR: segment @{segment} of @{run}.
# It can be read, and submitted by hand: see the command beside it.
@{setup}
# Only the job's first process hears OAR's signals, so the shell makes way for it.
exec @{command}
