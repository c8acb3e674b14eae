"""tunnel.py: what the tests of the real programs share: starting and ending server, client and origins, and speaking to them
byte by byte. Every wait has a deadline; every process started here ends here, by its pid; every file lives in a temporary
directory. Programs come from the environment that ctest sets (see CMakeLists.txt).
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

SERVER = os.environ.get("MDM_SERVER", "mdm-tunnel-server")
CLIENT = os.environ.get("MDM_CLIENT", "mdm-tunnel-client")
BUILD = os.environ.get("MDM_BUILD", "build/dev")
SOURCE = os.environ.get("MDM_SOURCE", os.getcwd())
SANITIZED = os.environ.get("MDM_SANITIZED", "") != ""
PATIENCE_S = 20          # a condition that takes longer will never come
LIBC = ctypes.CDLL(None)
FAULTS = re.compile(rb"(ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|Assertion .* failed)")


def wait_for(condition, what, patience=PATIENCE_S):
    """Calls condition() until it is true and returns that value; fails with `what` after the deadline."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what() if callable(what) else what}")
        time.sleep(0.01)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def own_address():
    """An IPv4 address of this machine that is not loopback, or None. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            address = s.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def held_sockets(port):
    """How many TCP sockets with this port at either end some process holds, listeners apart. Also for those who are not root."""
    count = 0
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as f:
            for row in f.read().splitlines()[1:]:
                cells = row.split()
                ports = [int(address.rsplit(":", 1)[1], 16) for address in cells[1:3]]
                count += port in ports and cells[3] != "0A" and cells[9] != "0"
    return count


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """A child with its output in files. stop() ends it and fails if a sanitizer complained."""

    def __init__(self, directory, argv, env=None, cwd=None, name=None, stdin=None):
        self.name = name or os.path.basename(argv[0])
        self.argv = [str(a) for a in argv]
        handle, self.stdout_path = tempfile.mkstemp(prefix=self.name + ".", suffix=".out", dir=directory)
        stdout = os.fdopen(handle, "wb")
        self.stderr_path = self.stdout_path[:-4] + ".err"
        full = {k: v for k, v in os.environ.items() if not k.startswith("MDM_TUNNEL_") and not k.lower().endswith("_proxy")}
        full.update({"HOME": directory, "XDG_CONFIG_HOME": os.path.join(directory, ".config"), "XDG_STATE_HOME": os.path.join(directory, ".state")})
        full.setdefault("ASAN_OPTIONS", "quarantine_size_mb=8")  # freed memory that it keeps would look like growth
        full.update(env or {})
        with stdout, open(self.stderr_path, "wb") as stderr:
            self.process = subprocess.Popen(self.argv, stdin=stdin if stdin is not None else subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=full,
                                            cwd=cwd or directory, preexec_fn=lambda: LIBC.prctl(1, signal.SIGKILL))
        self.pid = self.process.pid
        self.frozen = False
        self.checked = False

    def output(self):
        with open(self.stdout_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def errors(self):
        with open(self.stderr_path, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def describe(self):
        return f"{' '.join(self.argv)} (exit {self.process.poll()})\nstdout:\n{self.output()[-2000:]}\nstderr:\n{self.errors()[-4000:]}"

    def running(self):
        return self.process.poll() is None

    def expect(self, pattern, where="both", patience=PATIENCE_S, count=1):
        """Waits until the output holds `pattern` count times; returns the matches."""
        def found():
            text = (self.output() if where != "stderr" else "") + "\n" + (self.errors() if where != "stdout" else "")
            matches = list(re.finditer(pattern, text, re.M))
            if len(matches) >= count:
                return matches
            if not self.running():
                raise AssertionError(f"ended before saying {pattern!r}: {self.describe()}")
            return None
        return wait_for(found, lambda: f"{pattern!r} from {self.describe()}", patience)

    def wait(self, patience=PATIENCE_S):
        """Waits for the end; returns the exit status."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in {patience} s: {self.describe()}") from None
        self.check_faults()
        return status

    def signal(self, number):
        os.kill(self.pid, number)

    def freeze(self):
        self.signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self):
        self.signal(signal.SIGCONT)
        self.frozen = False

    def kill(self):
        if self.running():
            self.process.kill()
        self.process.wait()

    def memory_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def descriptors(self):
        """How many it has open. Root only: the programs forbid core dumps, and with them this look to others."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except PermissionError:
            raise unittest.SkipTest("only root may count the descriptors of a program that forbids core dumps") from None

    def check_faults(self):
        if self.checked:
            return
        self.checked = True
        with open(self.stderr_path, "rb") as f:
            if FAULTS.search(f.read()):
                raise AssertionError("a sanitizer complained: " + self.describe())

    def stop(self):
        """SIGTERM, twice if need be, then SIGKILL, which is a failure."""
        if self.frozen:
            self.thaw()
        for patience in (4, 10):
            if not self.running():
                break
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        else:
            if self.running():
                self.kill()
                raise AssertionError("did not end on two SIGTERM: " + self.describe())
        self.process.wait()
        self.check_faults()


class Server(Process):
    """mdm-tunnel-server on free ports. `ports` has http, clients and, if asked for, https and admin."""

    def __init__(self, directory, *args, binary=None, ports=True, wait=True, verbose=True, env=None):
        argv = [binary or SERVER, *(["-v"] if verbose else []), *(["--port", "0", "--client-port", "0"] if ports else []), *args]
        if "--state-dir" not in args and "--config" not in args:
            argv += ["--state-dir", os.path.join(directory, "state")]
        super().__init__(directory, argv, env=env)
        self.ports = {}
        if wait:
            self.await_ports()

    def await_ports(self):
        wanted = {"http", "clients"} | ({"admin"} if "--admin" in self.argv else set()) | ({"https"} if "--https-port" in self.argv else set())

        def seen():
            if not self.running():
                raise AssertionError("the server ended: " + self.describe())
            for kind, port in re.findall(r"listening: (\w+) \S+:(\d+)", self.errors()):
                self.ports.setdefault(kind, int(port))
            return wanted <= set(self.ports)
        wait_for(seen, lambda: f"ports {wanted} of {self.describe()}")

    @property
    def http(self):
        return self.ports["http"]

    @property
    def https(self):
        return self.ports["https"]

    @property
    def clients(self):
        return self.ports["clients"]

    @property
    def admin(self):
        return self.ports["admin"]


class Client(Process):
    """mdm-tunnel-client. Services named on the command line are waited for by their URL lines."""

    def __init__(self, directory, *args, port=None, wait=True, env=None, verbose=True, binary=None, cwd=None, stdin=None):
        argv = [binary or CLIENT, *(["-v"] if verbose else []), *(["-p", port] if port else []), *args]
        super().__init__(directory, argv, env=env, cwd=cwd, stdin=stdin)
        if wait:
            self.expect(r"^\s*https?://\S+", "stdout", count=sum(1 for a in args if re.fullmatch(r"[\w-]+=\S+", str(a))) or 1)


# ---- HTTP by hand ----

class Message:
    """A parsed head with its body. fields is a list of (name, value) as received."""

    def __init__(self, first, fields):
        self.first = first
        self.fields = fields
        self.body = b""
        self.trailers = []
        self.chunks = []
        self.complete = False

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    @property
    def status(self):
        return int(self.first.split(" ")[1])

    @property
    def method(self):
        return self.first.split(" ")[0]

    @property
    def target(self):
        return self.first.split(" ")[1]

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return f"<{self.first} {self.fields} {self.body[:300]!r}>"


def parse_head(raw):
    lines = raw.decode("latin-1").split("\r\n")
    return Message(lines[0], [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line])


class Wire:
    """A connection with a buffer: what to read next is said by the caller."""

    def __init__(self, sock, patience=PATIENCE_S):
        self.sock = sock
        self.sock.settimeout(patience)
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def more(self):
        """Reads something; False at the end."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"ended before {mark!r}, after {self.buffer[-500:]!r}")
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def exactly(self, size):
        parts = [self.buffer[:size]]
        have = len(parts[0])
        self.buffer = self.buffer[size:]
        while have < size:
            data = self.sock.recv(min(1 << 20, size - have))
            if not data:
                raise EOFError(f"ended {size - have} bytes early")
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def rest(self):
        while self.more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def ended(self):
        """True if the other side closes now (FIN or reset) without another byte."""
        try:
            return not self.buffer and not self.more()
        except ConnectionError:
            return True

    def head(self):
        return parse_head(self.until(b"\r\n\r\n"))

    def chunk(self):
        """One chunk's data, or None at the last one (trailers still unread)."""
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            return None
        data = self.exactly(size)
        if self.exactly(2) != b"\r\n":
            raise ValueError("chunk without its end")
        return data

    def body(self, message, empty=False, close_delimited=False):
        if empty:
            pass
        elif "chunked" in (message.get("transfer-encoding") or "").lower():
            while (data := self.chunk()) is not None:
                message.chunks.append(data)
            message.body = b"".join(message.chunks)
            while line := self.until(b"\r\n"):
                message.trailers.append(tuple(p.strip() for p in line.decode("latin-1").split(":", 1)))
        elif message.get("content-length") is not None:
            message.body = self.exactly(int(message.get("content-length")))
        elif close_delimited:
            message.body = self.rest()
        message.complete = True
        return message

    def request(self):
        """A whole request, as an origin reads it; None at the end."""
        while not self.buffer:
            if not self.more():
                return None
        message = self.head()
        if (message.get("expect") or "").lower() == "100-continue":
            self.send("HTTP/1.1 100 Continue\r\n\r\n")
        return self.body(message)

    def answer(self, method="GET", interim=False):
        """A whole answer, as a visitor reads it. Skips 1xx unless interim."""
        while True:
            message = self.head()
            if 100 <= message.status < 200 and message.status != 101:
                if interim:
                    return message
                continue
            return self.body(message, empty=method == "HEAD" or message.status in (101, 204, 304), close_delimited=True)

    def finish(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def dial(port, address="127.0.0.1", tls=None, server_name=None, patience=PATIENCE_S):
    sock = socket.create_connection((address, port), patience)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname=server_name)
    return Wire(sock, patience)


def request_text(method, target, host, fields=(), body=None, version="HTTP/1.1"):
    lines = [f"{method} {target} {version}", f"Host: {host}"] + [f"{n}: {v}" for n, v in (fields.items() if isinstance(fields, dict) else fields)]
    if body is not None and not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def fetch(port, host, target="/", method="GET", fields=(), body=None, tls=None, address="127.0.0.1", patience=PATIENCE_S):
    """One request on a connection of its own."""
    with dial(port, address, tls, host.split(":")[0] if tls else None, patience) as wire:
        wire.send(request_text(method, target, host, list(fields.items() if isinstance(fields, dict) else fields) + [("Connection", "close")], body))
        return wire.answer(method)


def reply(status="200 OK", body=b"", fields=(), length=True):
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}"] + [f"{n}: {v}" for n, v in (fields.items() if isinstance(fields, dict) else fields)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Origin:
    """A local service whose behaviour the test writes: handler(request, wire, origin) for each request, or raw(wire, origin) for
    each connection. It records requests, connections and what went wrong; `say` answers with its name by default."""

    def __init__(self, name="origin", handler=None, raw=None, family=socket.AF_INET, path=None, tls=None):
        self.name = name
        self.handler = handler or (lambda request, wire, origin: wire.send(reply(body=f"{origin.name} {request.method} {request.target} {len(request.body)}")))
        self.raw = raw
        self.tls = tls
        self.requests = []
        self.connections = 0
        self.open = set()
        self.faults = []
        self.lock = threading.Lock()
        self.closing = False
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.port = 0
        else:
            self.listener = socket.socket(family)
            self.listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(512)
        self.threads = []
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.closing:
                    sock.close()
                    return
                self.connections += 1
                self.open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain):
        sock = plain
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(sock, 60)
            if self.raw:
                self.raw(wire, self)
            else:
                while (request := wire.request()) is not None:
                    with self.lock:
                        self.requests.append(request)
                    if self.handler(request, wire, self) is False:
                        break
        except (OSError, EOFError, ValueError) as fault:
            if not self.closing:
                self.faults.append(fault)
        finally:
            with self.lock:
                self.open.discard(plain)
            with contextlib.suppress(OSError):
                sock.close()

    def stop(self):
        with self.lock:
            self.closing = True
            open_now = list(self.open)
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in open_now:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Case(unittest.TestCase):
    """Ends what a test started, in reverse order, and names the output of every process when the test fails."""

    maxDiff = 4000

    shared_processes = ()

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="mdm-test.")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.processes = []
        self.addCleanup(self._stop_processes)

    def run(self, result=None):
        lists = [result.failures, result.errors] if result else []
        before = [len(entries) for entries in lists]
        outcome = super().run(result)
        for entries, count in zip(lists, before):
            if len(entries) > count and self.last_words:
                test, text = entries[-1]
                entries[-1] = (test, text + "\n" + self.last_words)
        return outcome

    last_words = ""

    def _stop_processes(self):
        self.last_words = "\n".join(p.describe() for p in [*self.processes, *self.shared_processes])
        faults = []
        for process in reversed(self.processes):
            try:
                process.stop()
            except AssertionError as fault:
                faults.append(str(fault))
        if faults:
            raise AssertionError("\n".join(faults))

    def start(self, process):
        self.processes.append(process)
        return process

    def server(self, *args, **options):
        process = Server.__new__(Server)
        self.processes.append(process)
        try:
            process.__init__(self.directory, *args, **options)
        except BaseException:
            if not hasattr(process, "process"):
                self.processes.remove(process)
            raise
        return process

    def client(self, server, *args, **options):
        process = Client.__new__(Client)
        self.processes.append(process)
        options.setdefault("port", server.clients if server else None)
        try:
            process.__init__(self.directory, *args, **options)
        except BaseException:
            if not hasattr(process, "process"):
                self.processes.remove(process)
            raise
        return process

    def program(self, argv, **options):
        """Runs to the end; returns (status, stdout, stderr)."""
        process = self.start(Process(self.directory, argv, **options))
        status = process.wait()
        return status, process.output(), process.errors()

    def origin(self, *args, **options):
        origin = Origin(*args, **options)
        self.addCleanup(origin.stop)
        return origin

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content, mode=0o600):
        """Writes a file of the test, atomically as editors do."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w") as f:
            f.write(content if isinstance(content, str) else json.dumps(content))
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)
        return path

    def await_status(self, port, host, status=200, patience=PATIENCE_S, **options):
        """Asks until the answer has this status; returns it. For states that come by themselves, such as a reload."""
        last = []

        def asked():
            answer = fetch(port, host, **options)
            last[:] = [answer]
            return answer if answer.status == status else None
        return wait_for(asked, lambda: f"status {status} of {host}, got {last}", patience)

    def certificate(self, name, *hosts, ca=None, is_ca=False):
        """Makes NAME.crt and NAME.key (self-signed, or by `ca`); returns both paths."""
        key, crt = self.path(name + ".key"), self.path(name + ".crt")
        os.makedirs(os.path.dirname(crt), exist_ok=True)
        names = ",".join(("IP:" if re.fullmatch(r"[0-9.]+|[0-9a-f:]*::[0-9a-f:]*", h) else "DNS:") + h for h in hosts)
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-keyout", key, "-out", crt,
                   "-subj", "/CN=" + (hosts[0] if hosts else name)]
        if names:
            command += ["-addext", "subjectAltName=" + names]
        if not is_ca:
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        if ca:
            command += ["-CA", ca[0], "-CAkey", ca[1]]
        subprocess.run(command, check=True, capture_output=True)
        os.chmod(key, 0o600)
        return crt, key


class TunnelCase(Case):
    """One server, one client and some origins for all tests of a class: the class says which."""

    server_args = ()
    client_args = ()

    @classmethod
    def origins(cls):
        """Name of the service -> Origin (or a target as the client takes it)."""
        return {}

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="mdm-test.")
        cls.addClassCleanup(shutil.rmtree, cls.home, True)
        cls.shared_processes = []
        cls.services = cls.origins()
        for origin in cls.services.values():
            if isinstance(origin, Origin):
                cls.addClassCleanup(origin.stop)
        cls.tunnel = cls.shared(Server, cls.home, *cls.server_args)
        targets = [f"{name}={o.port if isinstance(o, Origin) else o}" for name, o in cls.services.items()]
        cls.link = cls.shared(Client, cls.home, "-u", "tim", *cls.client_args, *targets, port=cls.tunnel.clients)
        cls.port = cls.tunnel.http

    @classmethod
    def shared(cls, kind, *args, **options):
        process = kind.__new__(kind)

        def stop():
            if hasattr(process, "process"):
                process.stop()
        cls.addClassCleanup(stop)
        cls.shared_processes.append(process)
        process.__init__(*args, **options)
        return process

    def setUp(self):
        super().setUp()
        for origin in self.services.values():
            if isinstance(origin, Origin):
                with origin.lock:
                    origin.requests.clear()
                    origin.faults.clear()
                    origin.connections = 0

    def visit(self, service, target="/", **options):
        return fetch(self.port, f"{service}.tim.localhost", target, **options)

    def wire(self):
        wire = dial(self.port)
        self.addCleanup(wire.close)
        return wire


def tls_client(*certificates, alpn=None):
    """A context that trusts exactly these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        context.load_verify_locations(certificate)
    if not certificates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def tls_server(crt, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


def main():
    unittest.main(verbosity=2)
