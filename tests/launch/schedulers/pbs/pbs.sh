#!/bin/bash
# A job of ganhpc for PBS: segment @{segment} of @{run}.
# It can be read, and submitted by hand: qsub THIS_FILE
@{setup}
exec @{command}
