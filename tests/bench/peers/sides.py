"""The two workers under test, each on one broker: started, killed with -9, started again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PARTITIONS = "8"
# The heap is bounded so that a peer's memory is told, not chosen by the machine.
JAVA = ("java", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class Missing(Exception):
    """Something that this benchmark needs is not installed."""


def compiled(folder):
    """The class path of the Java programs, built into the folder."""
    for program in ("java", "javac"):
        if not shutil.which(program):
            raise Missing(f"no {program}: install openjdk-17-jdk-headless")
    jars = subprocess.run([os.path.join(harness.ROOT, "tools", "kafka", "jars"), "streams"], stdout=subprocess.PIPE,
                          text=True, check=False)
    if jars.returncode:
        raise Missing("no jars of Kafka Streams (see above)")
    libraries = jars.stdout.strip() + "/*"
    classes = os.path.join(folder, "classes")
    done = subprocess.run(["javac", "-d", classes, "-cp", libraries, *(os.path.join(HERE, f"{name}.java")
                                                                       for name in ("CountPerKey", "Load"))], check=False)
    harness.check(done.returncode == 0, "the Java programs do not compile")
    return classes + ":" + libraries


class Worker:
    """What both sides share: `argv`, `inbound` and `outbound` topics, `makes_topics`."""

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder)
        self.process, self.ready, self.starts_s, self._began = None, False, [], 0.0

    def start(self):
        self._began, self.ready = time.monotonic(), False
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        threading.Thread(target=self._wait_ready, args=(self.process,), daemon=True).start()
        return self

    def _wait_ready(self, process):
        line = process.stdout.readline()
        if line.endswith(b"\n") and process is self.process:
            self.starts_s.append(time.monotonic() - self._began)
            self.ready = True
        for _ in process.stdout:
            pass

    def wait_ready(self, seconds=60):
        harness.wait_until(f"{self.label} is ready", seconds, lambda: self.ready or self.process.poll() is not None)
        harness.check(self.ready, f"{self.label} ended with {self.process.poll()}; {self.log_end()}")
        return self

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def cpu_s(self):
        return harness.cpu_seconds(self.process.pid)

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) // 1024 for line in f if line.startswith("VmRSS:"))

    def log_end(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return f.read()[-2000:]


class Streams(Worker):
    """Kafka Streams, exactly_once_v2."""

    makes_topics = False

    def __init__(self, folder, name, bootstrap, class_path, commit_ms):
        super().__init__(folder, name)
        self.inbound, self.outbound, self.about = f"{name}.in", f"{name}.out", {"commit_interval_ms": commit_ms}
        self.side, self.label = "kafka-streams", f"kafka-streams at {commit_ms} ms"
        self.argv = [*JAVA, "-cp", class_path, "CountPerKey", bootstrap, name, self.inbound, self.outbound,
                     os.path.join(self.folder, "state"), str(commit_ms)]


class Soma(Worker):
    """A node whose integrators' topics are the way in and out: soma.commands to memory.events, an actor for each key."""

    makes_topics = True

    def __init__(self, folder, name, bootstrap):
        super().__init__(folder, name)
        self.inbound, self.outbound, self.about = f"{name}.soma.commands", f"{name}.memory.events", {}
        self.side = self.label = "soma"
        self.argv = [harness.SOMA, "dev", "--data-dir", os.path.join(self.folder, "data"), "--listen", "127.0.0.1:0",
                     "--memory-listen", "off", "--kafka", bootstrap, "--kafka-topic-prefix", f"{name}.",
                     "--kafka-trusted-producers", "true", "--partition-count", PARTITIONS, "--postgres", harness.NO_POSTGRES,
                     "--slm-local", "off", "--slm-embedding", "off", "--log-level", "warn"]


class Load:
    """The Java program that sends and reads; talks in lines."""

    def __init__(self, class_path, mode, worker, bootstrap, log, **options):
        options |= {"bootstrap": bootstrap, "in": worker.inbound, "out": worker.outbound, "run": os.path.basename(worker.folder),
                    "make": "false" if worker.makes_topics else "true"}
        self.log = log
        with open(log, "ab") as errors:
            self.process = subprocess.Popen([*JAVA, "-cp", class_path, "Load", mode, *(f"{k}={v}" for k, v in options.items())],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            with open(self.log, errors="replace") as f:
                raise harness.Failure(f"the load ended with {self.process.wait()}: {f.read()[-2000:]}")
        return json.loads(text)

    def go(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
