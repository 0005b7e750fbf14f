#!/bin/bash
# A job of ganhpc for the queue of this machine: segment 1 of default-256k-0123456789.
# It can be read, and run by hand: bash THIS_FILE
exec >>'/home/student/my runs/cifar/default-256k-0123456789/log.txt' 2>&1

module load conda
source ~/my env/bin/activate
export GANHPC_SCHEDULER=local
export GANHPC_LAUNCH=beefcafe
export PYTHONPATH=/checkout
export PYTHONUNBUFFERED=1
cd /checkout || exit 1
exec /opt/python3 -m ganhpc.node '/home/student/my runs/cifar/default-256k-0123456789' --walltime=3600 --tasks=4 --last --again

$ bash '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh'
