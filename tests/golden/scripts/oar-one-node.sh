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
exec /opt/python3 -m ganhpc.node '/home/student/my runs/cifar/default-256k-0123456789' --walltime=3600 --tasks=1 --until=2026-11-24T08:59:00+01:00 --last

$ oarsub -n ganhpc:beefcafe-1-00ff -l /nodes=1/gpu=1,walltime=1:00:00 -O '/home/student/my runs/cifar/default-256k-0123456789/log.txt' -E '/home/student/my runs/cifar/default-256k-0123456789/log.txt' --checkpoint 120 -t 'postpone=2026-11-23 19:01:00' -t 'deadline=2026-11-24 09:00:00' -q default --project gan -p 'gpu_model = '"'"'GTX 1080 Ti'"'"'' ''"'"'/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh'"'"''
