"""The configuration files of a small SLURM cluster that lives in one folder.

Two nodes on loopback, `n1` and `g1`; `g1` has four pretend GPUs. A third one is for preemption.
Nothing is started here.
"""

import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import free_ports

NODES = ("n1", "g1")
PREEMPTED_NODE = "p1"
"""A node of its own, that jobs of the partition high take from those of low and lowgrace."""
GRACE_S = 6
NUM_GPUS = 4
CPUS_PER_NODE = 8
MAX_SOCKET_PATH = 107


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What a cluster is made of.

    Attributes:
        folder: everything of the cluster lies in it: configuration, sockets, logs, state.
        accounting: run MariaDB and slurmdbd, so that sacct answers.
        max_array_size: SLURM's MaxArraySize; the highest array index is one less.
    """

    folder: Path
    accounting: bool = True
    max_array_size: int = 1001

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "run" / "munge.socket"

    @property
    def mysql_socket(self) -> Path:
        return self.folder / "run" / "mysql.sock"

    @property
    def ready_file(self) -> Path:
        """Exists once the cluster takes jobs."""
        return self.folder / "run" / "ready"

    def down_file(self, node: str) -> Path:
        """While it exists, a node whose slurmd has ended stays down."""
        return self.folder / "run" / f"{node}.down"

    @property
    def log_file(self) -> Path:
        """What the supervising process says."""
        return self.folder / "cluster.log"

    def write(self) -> None:
        """Make the folders and write every file a daemon reads.

        Raises:
            ValueError: the folder's path is too long for a unix socket.
            OSError: a file cannot be written.
        """
        if len(str(self.munge_socket)) > MAX_SOCKET_PATH:
            raise ValueError(
                f"the path {self.folder} is too long for a unix socket; choose a shorter folder"
            )
        for name in ("run", "log", "state", "spool", "db", "gpu"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(NUM_GPUS):
            # slurmd wants device files, and only root may make real ones
            device = self.folder / "gpu" / f"gpu{index}"
            device.unlink(missing_ok=True)
            device.symlink_to("/dev/null")
        _write_private(self.folder / "munge.key", os.urandom(1024))
        ctld_port, dbd_port, *node_ports = free_ports(3 + len(NODES))
        (self.folder / "gres.conf").write_text(
            f"NodeName=g1 Name=gpu Type=fake File={self.folder}/gpu/gpu[0-{NUM_GPUS - 1}]\n"
        )
        text = self._common(ctld_port) + self._accounting(dbd_port) + self._nodes(node_ports)
        self.slurm_conf.write_text(text)
        if self.accounting:
            _write_private(self.folder / "slurmdbd.conf", self._slurmdbd(dbd_port).encode())

    def _common(self, port: int) -> str:
        user = user_name()
        return f"""\
ClusterName=hpcpipe
SlurmctldHost={_host()}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# a requeued job waits until its old credential has expired (120 s by default)
AuthInfo=socket={self.munge_socket},cred_expire=5
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool/%n
SlurmctldPidFile={self.folder}/run/slurmctld.pid
SlurmdPidFile={self.folder}/run/slurmd.%n.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
MailProg=/bin/true
KillWait=5
MinJobAge=300
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MaxArraySize={self.max_array_size}
"""

    def _accounting(self, dbd_port: int) -> str:
        if not self.accounting:
            return "AccountingStorageType=accounting_storage/none\n"
        return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd_port}
# with a munge socket of one's own this must name it, or sacctmgr hangs
AccountingStoragePass={self.munge_socket}
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits
"""

    def _nodes(self, ports: list[int]) -> str:
        lines = ["SlurmdParameters=config_overrides", "GresTypes=gpu"]
        for name, port in zip((*NODES, PREEMPTED_NODE), ports, strict=True):
            gres = f" Gres=gpu:fake:{NUM_GPUS}" if name.startswith("g") else ""
            lines.append(
                f"NodeName={name} NodeHostname={_host()} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs={CPUS_PER_NODE} RealMemory=8000{gres} State=UNKNOWN"
            )
        nodes = ",".join(NODES)
        lines.append(f"PartitionName=cpu Nodes={nodes} Default=YES LLN=YES PreemptMode=OFF")
        lines.append("PartitionName=gpu Nodes=g1 PreemptMode=OFF")
        low = f"Nodes={PREEMPTED_NODE} PriorityTier=1 PreemptMode=REQUEUE"
        lines.append(f"PartitionName=low {low}")
        lines.append(f"PartitionName=lowgrace {low} GraceTime={GRACE_S}")
        lines.append(f"PartitionName=high Nodes={PREEMPTED_NODE} PriorityTier=9 PreemptMode=OFF")
        return "\n".join(lines) + "\n"

    def _slurmdbd(self, port: int) -> str:
        return f"""\
AuthType=auth/munge
AuthInfo=socket={self.munge_socket}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user_name()}
LogFile={self.folder}/log/slurmdbd.log
PidFile={self.folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
"""


def user_name() -> str:
    """Name of the user everything runs as. Raises KeyError for a user without a name."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _write_private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(data)
