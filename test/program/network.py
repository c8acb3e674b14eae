"""network.py: a network of two namespaces and one cable, to break. The server and its visitors stand at one end, the client and
its services at the other. The namespaces have no names: each lives as long as its keeper process, so nothing is left behind
however a test ends. Needs root, and the programs ip, ss, tc and nft.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess

from tunnel import LIBC, wait_for

CLONE_NEWNET = 0x40000000
SERVER_ADDRESS, CLIENT_ADDRESS, OTHER_ADDRESS = "10.77.0.1", "10.77.0.2", "10.77.0.3"
PATIENCE_S = 10


def isolate():
    if LIBC.unshare(CLONE_NEWNET) != 0:
        os._exit(1)


def missing():
    """What this machine lacks for such a network, in words; None if nothing."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("ip", "ss", "tc", "nft"):
        if not shutil.which(program):
            return f"no program {program}"
    try:
        with Network() as network:
            for end in network.ends:
                end.drop("meta mark 1")
                end.mend()
                end.narrow("1mbit")
    except (OSError, subprocess.SubprocessError) as fault:
        return f"{fault} {getattr(fault, 'stderr', None) or ''}".strip()
    return None


class Namespace:
    """One end of the cable. `with end.inside():` makes this thread's new sockets and processes live there."""

    def __init__(self):
        def become():
            LIBC.prctl(1, signal.SIGKILL)
            isolate()
        self.keeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=become)
        self.run("ip", "link", "set", "lo", "up")

    @contextlib.contextmanager
    def inside(self):
        with open("/proc/thread-self/ns/net") as home, open(f"/proc/{self.keeper.pid}/ns/net") as there:
            if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
                raise OSError("setns")
            try:
                yield self
            finally:
                if LIBC.setns(home.fileno(), CLONE_NEWNET) != 0:
                    os.abort()  # nothing after this would be where it believes to be

    def run(self, *argv):
        with self.inside():
            return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def address(self, address, verb="add"):
        self.run("ip", "addr", verb, address + "/24", "dev", "cable")

    def link(self, state):
        self.run("ip", "link", "set", "cable", state)

    def drop(self, what=""):
        """What arrives here over the cable is dropped without a word: all, or what the nft expression says."""
        self.run("nft", "add table inet faults; add chain inet faults arriving { type filter hook input priority 0; }; "
                 f"add rule inet faults arriving iifname cable {what} counter drop")

    def dropped(self):
        """Packets that drop() swallowed."""
        return sum(int(n) for n in re.findall(r"counter packets (\d+)", self.run("nft", "list", "table", "inet", "faults")))

    def mend(self):
        self.run("nft", "delete", "table", "inet", "faults")

    def narrow(self, rate):
        """What leaves here over the cable leaves at this rate, with a short queue."""
        self.run("tc", "qdisc", "replace", "dev", "cable", "root", "tbf", "rate", rate, "burst", "4kb", "latency", "100ms")

    def close(self):
        self.keeper.stdin.close()
        self.keeper.kill()
        self.keeper.wait()


class Network:
    def __init__(self):
        self.ends = []
        try:
            self.server, self.client = self.add(), self.add()
            self.server.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.client.keeper.pid))
            for end, address in zip(self.ends, (SERVER_ADDRESS, CLIENT_ADDRESS)):
                end.run("ip", "link", "set", "cable", "gso_max_segs", "1")  # a packet is a packet: loss and rate are meant of these
                end.address(address)
                end.link("up")
            wait_for(lambda: all("LOWER_UP" in end.run("ip", "link", "show", "cable") for end in self.ends), "the cable")
        except BaseException:
            self.close()
            raise

    def add(self):
        end = Namespace()
        self.ends.append(end)
        return end

    def close(self):
        for end in self.ends:
            end.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
