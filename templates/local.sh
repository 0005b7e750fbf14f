#!/bin/bash
# A job of ganhpc for the queue of this machine: segment @{segment} of @{run}.
# It can be read, and run by hand: bash THIS_FILE
@{setup}
exec @{command}
