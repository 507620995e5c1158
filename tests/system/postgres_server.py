"""A PostgreSQL for a node that does not own it: that of another node, which starts it again whenever it ends."""

import os
import signal

import harness
from harness import wait_until


class Server:
    """With an empty database, `sick`."""

    def __init__(self, folder, upstream):
        self.data = os.path.join(folder.path, "owner")
        folder.node(*upstream.flags, data=self.data).wait_ready()
        wait_until("its PostgreSQL", 60, lambda: harness.postmaster(self.data))
        harness.psql(self.data, "CREATE DATABASE sick")

    def socket(self):
        about = harness.postmaster(self.data)
        return f"{about[4]}/.s.PGSQL.{about[3]}"

    @staticmethod
    def url(port):
        """Of that database, where `port` leads to the socket."""
        return f"postgresql://soma@127.0.0.1:{port}/sick"

    def restart(self):
        """At once, and then until it answers."""
        before = int(harness.postmaster(self.data)[0])
        os.kill(before, signal.SIGQUIT)
        wait_until("PostgreSQL ended and is up again", 60,
                   lambda: len(about := harness.postmaster(self.data)) > 7 and int(about[0]) != before and "ready" in about[7])

    def terminate(self):
        """Every connection to that database."""
        return len(harness.psql(self.data, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'sick'")) - 1
