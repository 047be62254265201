#!/usr/bin/env bash
# Run a command beside a Slurm cluster of one node that lives in namespaces of its own.
#
# Usage: one_node.sh FOLDER COMMAND...
# Needs root, slurm-wlm and munge. FOLDER gets the daemons' logs and state. When the command ends,
# all daemons and jobs end with it, and nothing of them is left on the machine.
set -euo pipefail

if [ "${SOMNOFLOW_IN_SLURM:-}" = "" ]; then
    export SOMNOFLOW_IN_SLURM=$$
    exec unshare --mount --pid --fork --mount-proc --kill-child "$0" "$@"
fi

folder=$(realpath "$1")
shift
host=$(hostname -s)
# Ports of its own, so that two clusters do not meet.
port=$((20000 + SOMNOFLOW_IN_SLURM % 5000 * 2))
mkdir -p "$folder"/{log,state,spool}

# Only this namespace sees these: srun reads /etc/slurm whatever SLURM_CONF says.
for place in /etc/slurm /etc/munge /run/munge; do
    mkdir -p "$place"
    mount -t tmpfs tmpfs "$place"
done
chmod 755 /etc/slurm /run/munge
cat >/etc/slurm/slurm.conf <<EOF
ClusterName=onenode
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job whose node died is started again after this many seconds; 120 are usual.
AuthInfo=cred_expire=15
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
MinJobAge=3600
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=gpu Nodes=$host Default=NO MaxTime=INFINITE State=UP OverSubscribe=NO
EOF
for device in null zero; do
    echo "NodeName=$host Name=gpu File=/dev/$device"
done >/etc/slurm/gres.conf
head -c 1024 /dev/urandom >/etc/munge/munge.key
chown -R munge: /etc/munge /run/munge
chmod 700 /etc/munge
chmod 400 /etc/munge/munge.key
install -d -o munge -m 700 "$folder/munge"
runuser -u munge -- munged --force --log-file=/run/munge/log --pid-file=/run/munge/pid --seed-file=/run/munge/seed
slurmctld
slurmd
for _ in $(seq 120); do
    if [ "$(sinfo --noheader --partition main --format %t 2>/dev/null)" = idle ]; then
        # Not exec: this shell is the namespace's first process and has to bury its orphans.
        "$@"
        exit
    fi
    sleep 0.5
done
echo "the node did not become idle; see $folder/log" >&2
sinfo >&2 || true
exit 70
