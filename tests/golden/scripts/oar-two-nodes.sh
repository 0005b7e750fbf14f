#!/bin/bash
# A job of ganhpc for OAR: segment 1 of default-256k-0123456789.
# It can be read, and submitted by hand: see the command beside it.

module load conda
source ~/my env/bin/activate
export GANHPC_SCHEDULER=oar
export GANHPC_LAUNCH=beefcafe
export PYTHONPATH=/checkout
export PYTHONUNBUFFERED=1
cd /checkout || exit 1
# Only the job's first process hears OAR's signals, so the shell makes way for it.
exec /opt/python3 -m ganhpc.node '/home/student/my runs/cifar/default-256k-0123456789' --walltime=3600 --tasks=4 --last --again

$ oarsub -n ganhpc:beefcafe-1-00ff -l /nodes=2/gpu=4,walltime=1:00:00 -O '/home/student/my runs/cifar/default-256k-0123456789/log.txt' -E '/home/student/my runs/cifar/default-256k-0123456789/log.txt' --checkpoint 120 -t idempotent -a 17 -a 18 -q default --project gan -p 'gpu_model = '"'"'GTX 1080 Ti'"'"'' ''"'"'/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh'"'"''
