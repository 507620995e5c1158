"""What the system tests share: a real `soma dev` on a folder of its own, a scripted model, a client.

Programs are found by environment (set by CMake) or in build/release. Nothing here waits without a deadline.
"""

import concurrent.futures
import datetime
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SOMA_BUILD", os.path.join(ROOT, "build", "release"))
SOMA = os.path.join(BUILD, "tools", "soma")
UPSTREAM = os.path.join(BUILD, "tests", "support", "scripted_upstream")
JOURNAL = os.path.join(BUILD, "tests", "system", "journal_commands")
HISTORY = os.path.join(BUILD, "tests", "bench", "restart_bench")
SHIM = os.path.join(BUILD, "tests", "system", "libsync_recorder.so")
# Whatever else this machine has in its PATH: a node must not live on it.
BARE_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NO_POSTGRES = "postgresql://nobody@127.0.0.1:1/none"  # refused at once: a node without views


class Failure(Exception):
    """What a test found wrong."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def gate(name, measured, bar, passed):
    print(f"GATE {name} {measured} {bar} {'PASS' if passed else 'FAIL'}", flush=True)
    check(passed, f"{name}: {measured}, bar {bar}")


def wait_until(what, seconds, condition, step=0.02):
    """The condition's first true value; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(step)


def each(items, work, jobs):
    """What `work(item)` gave of every item, `jobs` at a time; nothing is begun after the first failure."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def shares(total, most):
    """`total` in shares of at most `most`."""
    return [min(most, total - at) for at in range(0, total, most)]


def children_of(folder, pid=None):
    """Processes whose working folder or command names the folder, and children of `pid`: (pid, argv)."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                argv = f.read().replace(b"\0", b" ").decode(errors="replace")
            with open(f"/proc/{name}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            cwd = os.readlink(f"/proc/{name}/cwd")
        except OSError:
            continue
        if cwd.startswith(folder + "/") or (pid and parent == pid):
            found.append((int(name), argv))
    return found


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Folder:
    """A data folder that goes with the test; kept where it failed and KEEP is set."""

    def __init__(self, parent=None):
        self.path = tempfile.mkdtemp(prefix="soma-system-", dir=parent)
        os.chmod(self.path, 0o755)
        self.data = os.path.join(self.path, "data")
        self.nodes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for node in self.nodes:
            node.kill()
        for pid, _ in children_of(self.path):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if kind:
            for node in self.nodes[-4:]:
                node.show_log()
        if kind and os.environ.get("KEEP"):
            print("kept:", self.path, file=sys.stderr)
            return
        tag = hashlib.sha256(self.data.encode()).hexdigest()[:12]
        shutil.rmtree(f"/tmp/soma-pg-{tag}", ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def node(self, *flags, **options):
        node = Node(self, flags, **options)
        self.nodes.append(node)
        return node


class Node:
    """One run of `soma dev`. `wrap` goes before it (strace, …); `program`: of another build."""

    def __init__(self, folder, flags, wrap=(), env=None, data=None, command="dev", program=SOMA):
        self.folder, self.data = folder, data or folder.data
        self.log_path = os.path.join(folder.path, f"node-{len(folder.nodes)}.log")
        self.began = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*wrap, program, command, "--data-dir", self.data,
                 *(() if "--listen" in flags else ("--listen", "127.0.0.1:0")),
                 *(() if "--memory-listen" in flags else ("--memory-listen", "off")), *flags],
                stdout=subprocess.PIPE, stderr=log, env={**os.environ, "PATH": BARE_PATH, **(env or {})})
        self.ready_line, self.ready_s, self.ready_cpu_s = None, None, None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        line = self.process.stdout.readline()
        if line.endswith(b"\n"):
            self.ready_s = time.monotonic() - self.began
            self.ready_cpu_s = cpu_seconds(self.process.pid)
            self.ready_line = json.loads(line)

    def wait_ready(self, seconds=60):
        wait_until("ready line", seconds, lambda: self.ready_line or self.process.poll() is not None, 0.002)
        if not self.ready_line:
            self._reader.join(2)
        check(self.ready_line, f"soma ended with {self.process.poll()} before it was ready")
        return self

    @property
    def url(self):
        return self.ready_line["http"]

    @property
    def pid(self):
        return self.ready_line["pid"]

    def kill(self):
        """kill -9 of soma itself, whatever wraps it; its children learn of it by the kernel."""
        if self.process.poll() is None:
            target = self.ready_line["pid"] if self.ready_line else self._soma_pid()
            try:
                os.kill(target, signal.SIGKILL)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                self.process.kill()
        return self.process.wait()

    def _soma_pid(self):
        for pid, argv in children_of(self.folder.path, self.process.pid):
            if argv.startswith(SOMA):
                return pid
        return self.process.pid

    def terminate(self):
        """SIGTERM; (exit code, seconds)."""
        began = time.monotonic()
        os.kill(self.pid if self.ready_line else self.process.pid, signal.SIGTERM)
        code = self.process.wait(60)
        return code, time.monotonic() - began

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def show_log(self, lines=40):
        """The last lines of its log; a broker's absence is told in many of one kind, which say little."""
        kept = [line for line in self.log().splitlines() if '"http_request"' not in line and '"event":"kafka"' not in line]
        print("\n".join([f"{os.path.basename(self.log_path)}, process {self.process.pid}:", *kept[-lines:]]), file=sys.stderr)


class Upstream:
    """The scripted model server."""

    def __init__(self, script=None):
        self.process = subprocess.Popen([UPSTREAM, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.base_url = json.loads(self.process.stdout.readline())["base_url"]
        self.flags = ("--slm-openai-base-url", self.base_url, "--slm-local", "off", "--slm-embedding", "off")
        if script:
            self.script(script)

    def script(self, script):
        answer = Client(self.base_url.removesuffix("/v1")).call("PUT", "/control/script", script)
        check(answer.status == 200, f"script refused: {answer.body}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def connection(url, timeout=30, tls=None):
    """Of http.client; `tls`: the SSLContext of an https one."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=tls)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)


class Client:
    """One keep-alive connection; reconnects by itself. Raises OSError or HTTPException on a broken one."""

    def __init__(self, url, token=None, timeout=30, tls=None):
        self._url, self._timeout, self._token, self._tls = url, timeout, token, tls
        self._connection = None

    def call(self, method, path, body=None, key=None, headers=None):
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if key:
            sent["Idempotency-Key"] = key
        if self._token:
            sent["Authorization"] = "Bearer " + self._token
        sent.update(headers or {})
        if self._connection is None:
            self._connection = connection(self._url, self._timeout, self._tls)
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = self._connection.getresponse()
            answer = Answer(response.status, dict(response.getheaders()), response.read().decode())
        except BaseException:
            self._connection.close()
            self._connection = None
            raise
        if response.will_close:
            self._connection.close()
            self._connection = None
        return answer


BROKEN = (OSError, http.client.HTTPException)


def soma(*args, data=None, timeout=120, env=None, program=SOMA):
    """Runs the command on a stopped folder: (exit code, stdout, stderr)."""
    done = subprocess.run([program, *(("--data-dir", data) if data else ()), *args], capture_output=True, text=True,
                          timeout=timeout, check=False, env={**os.environ, **env} if env else None)
    return done.returncode, done.stdout, done.stderr


def soma_lines(data, *args):
    """The lines of JSON with which a command succeeds."""
    code, out, err = soma(*args, "-o", "json", data=data)
    check(code == 0, f"soma {' '.join(args)}: exit {code}\n{out}{err}")
    return [json.loads(line) for line in out.splitlines()]


def soma_error(data, code, *args):
    """The error with which a command fails."""
    got, out, err = soma(*args, "-o", "json", data=data)
    check(got == code, f"soma {' '.join(args)}: exit {got}, not {code}\n{out}{err}")
    return json.loads(err.splitlines()[-1])["error"]


def postmaster(data):
    """The lines of the postmaster.pid of a node's private PostgreSQL; none while it is not there."""
    try:
        with open(os.path.join(data, "run", "postgres.home"), encoding="utf-8") as f:
            home = f.read().strip()
        with open(os.path.join(home, "cluster", "postmaster.pid"), encoding="utf-8") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def psql(data, sql):
    """A statement in the views of a node's private PostgreSQL, over its socket: the rows, fields separated by `|`."""
    about = postmaster(data)
    check(len(about) > 4, f"no PostgreSQL runs for {data}")
    done = subprocess.run(["psql", "-X", "-h", about[4], "-U", "soma", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-Atc", sql],
                          env={**os.environ, "PGOPTIONS": "-c search_path=soma"}, capture_output=True, text=True, timeout=60,
                          check=False)
    check(done.returncode == 0, f"psql {sql}: {done.stderr}")
    return done.stdout.splitlines()


def token(data, tenant, person, capabilities="*"):
    """Of the authority of a node's folder."""
    code, out, err = soma("auth", "token", "--tenant", tenant, "--sub", person, "--cap", capabilities, data=data)
    check(code == 0, f"soma auth token: {code} {err}")
    return out.strip()


def verify_deep(data, program=SOMA):
    code, out, err = soma("verify", "--deep", data=data, program=program)
    check(code == 0, f"soma verify --deep: exit {code}\n{out}{err}")
    return json.loads(out)


def write_history(data, actors, each):
    """A data folder with so many counters c0, c1, … of so many events, written by the host; each event adds one."""
    done = subprocess.run([HISTORY, str(actors), str(each), data], capture_output=True, text=True, timeout=900, check=False)
    check(done.returncode == 0 and os.path.isdir(data + "/log"), f"{HISTORY}: exit {done.returncode}\n{done.stderr}")


def journal(data):
    """Clients' commands in the valid frames of a folder: {command id: [(position, actor), …]}."""
    return read_journal(os.path.join(data, "log"))


def read_journal(*where):
    done = subprocess.run([JOURNAL, *where], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"journal_commands: {done.stderr}")
    commands = {}
    for line in done.stdout.splitlines():
        position, actor, command_id = line.split("\t")
        commands.setdefault(command_id, []).append((position, actor))
    return commands


class Brokers:
    """Real Kafka brokers, by tools/kafka/broker."""

    def __init__(self, brokers=1, gates=0):
        self.path = tempfile.mkdtemp(prefix="soma-kafka-")
        self.count = brokers
        about = json.loads(self.run("start", "--brokers", str(brokers), "--gates", str(gates),
                                    "--until", str(os.getpid())))
        self.bootstrap, self.gates = about["bootstrap"], about["gates"]

    def run(self, command, *args):
        done = subprocess.run([os.path.join(ROOT, "tools", "kafka", "broker"), command, "--dir", self.path, *args],
                              stdout=subprocess.PIPE, text=True, timeout=120, check=False)
        check(done.returncode == 0, f"tools/kafka/broker {command} failed")
        return done.stdout

    def console(self, command, *args, given=""):
        """Kafka's own console producer or consumer; what it printed. A consumer ends by its timeout."""
        done = subprocess.run([os.path.join(ROOT, "tools", "kafka", "broker"), command, "--dir", self.path, *args],
                              input=given, capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == 0, f"console {command} failed: {done.stderr[-2000:]}")
        return done.stdout

    def journal(self):
        """As journal() of a folder."""
        return read_journal("--kafka", self.bootstrap)

    def claims(self):
        """Of each partition: (unix time, node id), in order."""
        code, out, err = soma("log", "export", "--kafka", self.bootstrap, timeout=300)
        check(code == 0, f"soma log export --kafka: exit {code}\n{err}")
        found = {}
        for frame in map(json.loads, out.splitlines()):
            if "claim" in frame:
                at = datetime.datetime.fromisoformat(frame["time"].replace("Z", "+00:00")).timestamp()
                found.setdefault(int(frame["position"].split("/")[0]), []).append((at, frame["claim"]["node_id"]))
        return found

    def verify_deep(self):
        code, out, err = soma("verify", "--deep", "--kafka", self.bootstrap)
        check(code == 0, f"soma verify --deep --kafka: exit {code}\n{out}{err}")
        return json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("destroy")


def end(*_):
    """So that a test that is ended leaves nothing running; whoever says it twice does not break off that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main(test, seed=None):
    """Runs a test; its seed is printed so that a failure can be repeated."""
    seed = int(os.environ.get("SEED", seed or time.time_ns() % 1_000_000))
    print(f"seed {seed} (repeat with SEED={seed})", flush=True)
    random.seed(seed)
    signal.signal(signal.SIGTERM, end)
    try:
        test()
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
    print("passed", flush=True)
