"""Confinement of both programs: what the kernel says of them, that everything needed goes on working, that the rest is refused."""
import ctypes
import errno
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import tempfile

from tunnel import BUILD, CLIENT, SANITIZED, SERVER, Case, Process, fetch, main, reply, wait_for

LANDLOCK_CREATE_RULESET = 444


def has_landlock():
    return ctypes.CDLL(None, use_errno=True).syscall(LANDLOCK_CREATE_RULESET, 0, 0, 1) > 0


def status_of(process):
    with open(f"/proc/{process.pid}/status") as f:
        return dict(re.findall(r"^(\w+):\s*(.*)$", f.read(), re.M))


class Confined(Case):
    def apart(self, name):
        """A directory that shares no parent but /tmp with the others."""
        path = tempfile.mkdtemp(prefix=f"mdm-confine-{name}.")
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def await_confined(self, process, filters="2"):
        wait_for(lambda: status_of(process)["Seccomp"] == filters, lambda: f"Seccomp {filters} of {status_of(process)['Seccomp']}: {process.describe()}")


class Kernel(Confined):
    def test_what_the_kernel_says(self):
        o = self.origin("o")
        server = self.server()
        client = self.client(server, "-u", "tim", f"o={o.port}")
        for process in (server, client):
            with self.subTest(process.name):
                self.await_confined(process)
                self.assertEqual(status_of(process)["NoNewPrivs"], "1")
                with open(f"/proc/{process.pid}/limits") as f:
                    self.assertRegex(f.read(), r"Max core file size +0 +0 ")
        for task in os.listdir(f"/proc/{server.pid}/task"):
            with open(f"/proc/{server.pid}/task/{task}/status") as f:
                self.assertRegex(f.read(), r"Seccomp:\s*2")

    def test_every_limit_of_cores_is_zero_whatever_it_was(self):
        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            self.skipTest("cores are off here already")
        server = self.server()
        with open(f"/proc/{server.pid}/limits") as f:
            self.assertRegex(f.read(), r"Max core file size +0 +0 ")

    def test_switched_off_with_a_warning(self):
        o = self.origin("o")
        server = self.server("--no-sandbox")
        client = self.client(server, "-u", "tim", "--no-sandbox", f"o={o.port}")
        server.expect("warning: --no-sandbox", "stderr")
        client.expect("warning: --no-sandbox", "stderr")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        for process in (server, client):
            self.assertEqual((status_of(process)["Seccomp"], status_of(process)["NoNewPrivs"]), ("0", "1"))


class Work(Confined):
    """Every file in a place of its own, so that nothing is reachable by being next to something else."""

    def move_in(self, source, target):
        shutil.copy(source, target + ".new")
        os.rename(target + ".new", target)

    def test_all_that_is_read_or_written_while_running(self):
        places = {name: self.apart(name) for name in ("users", "certificates", "renewed", "log", "state", "services", "config")}
        users, log = os.path.join(places["users"], "users.json"), os.path.join(places["log"], "access.log")
        services = os.path.join(places["services"], "services.json")
        first, second = self.certificate("first", "*.tim.tunnel.test"), self.certificate("second", "*.tim.tunnel.test")
        for source, kind in zip(first, ("crt", "key")):  # links, as a renewal program makes them
            shutil.copy(source, os.path.join(places["renewed"], "live." + kind))
            os.symlink(os.path.join(places["renewed"], "live." + kind), os.path.join(places["certificates"], "tim." + kind))
        gate = self.origin("gate", lambda request, wire, origin: wire.send(reply()))
        one, two = self.origin("one"), self.origin("two")
        config = self.write(os.path.join(places["config"], "server.json"), {"hold": 2})

        def user(*words):
            code, out, err = self.program([SERVER, "user", *words, "--users", users, "--state-dir", places["state"]])
            self.assertEqual(code, 0, err)
            return out
        token = re.search(r"mdm1\.\S+", user("add", "tim")).group(0)
        server = self.server("--config", config, "--users", users, "--tls-dir", places["certificates"], "--https-port", "0", "--domain", "tunnel.test", "--access-log", log,
                             "--state-dir", places["state"], "--auth-url", f"http://localhost:{gate.port}/check")
        self.await_confined(server)
        self.write(services, {"one": {"port": one.port}})
        client = self.client(server, "-c", services, env={"MDM_TUNNEL_TOKEN": token}, wait=False)
        client.expect("one: https://")
        self.await_confined(client)
        # a visit, which asks a service by its name
        self.assertEqual(fetch(server.http, "one.tim.tunnel.test").text, "one GET / 0")
        self.assertGreaterEqual(len(gate.requests), 1)
        # the services file, by rename
        self.write(services, {"one": {"port": one.port}, "two": {"host": "localhost", "port": two.port}})
        self.await_status(server.http, "two.tim.tunnel.test")
        # the user file, by rename: one in, one out
        other = re.search(r"mdm1\.\S+", user("add", "sue")).group(0)
        sue = self.client(server, f"one={one.port}", env={"MDM_TUNNEL_TOKEN": other})
        self.assertEqual(fetch(server.http, "one.sue.tunnel.test").status, 200)
        user("remove", "sue")
        self.assertEqual(sue.wait(), 4)
        # certificates, through the links
        for source, kind in zip(second, ("crt", "key")):
            self.move_in(source, os.path.join(places["renewed"], "live." + kind))
        server.signal(signal.SIGHUP)
        with open(second[0]) as f:
            wanted = ssl.PEM_cert_to_DER_cert(f.read())

        def presented():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", server.https)) as plain, context.wrap_socket(plain, server_hostname="one.tim.tunnel.test") as sock:
                return sock.getpeercert(True)
        wait_for(lambda: presented() == wanted, lambda: f"the new certificate: {server.describe()}")
        # the access log
        os.rename(log, log + ".1")
        server.signal(signal.SIGHUP)
        wait_for(lambda: os.path.exists(log), lambda: f"a new access log: {server.describe()}")
        fetch(server.http, "one.tim.tunnel.test", "/after")
        wait_for(lambda: "/after" in open(log).read(), "the line in the new log")
        self.assertNotRegex(server.errors(), r"Permission denied|not permitted")

    def test_a_reload_to_a_place_that_was_not_let_in_keeps_the_old_one(self):
        if not has_landlock():
            self.skipTest("this kernel has no Landlock")
        o = self.origin("o")
        inside, outside = (os.path.join(self.apart(name), "access.log") for name in ("in", "out"))
        config = self.write("server.json", {"access-log": inside})
        server = self.server("--config", config, "--state-dir", self.path("state"))
        self.client(server, "-u", "tim", f"o={o.port}")
        self.await_confined(server)
        self.write("server.json", {"access-log": outside})
        server.signal(signal.SIGHUP)
        server.expect("permission denied", "stderr")
        fetch(server.http, "o.tim.localhost", "/still")
        wait_for(lambda: "/still" in open(inside).read(), lambda: f"a line in the old log: {server.describe()}")
        self.assertFalse(os.path.exists(outside))

    def test_login_and_the_key_of_an_unknown_server_are_kept(self):
        o = self.origin("o")
        users = self.path("users.json")
        code, out, err = self.program([SERVER, "user", "add", "tim", "--users", users, "--state-dir", self.path("state")])
        self.assertEqual(code, 0, err)
        token = re.search(r"mdm1\.\S+", out).group(0)
        server = self.server("--users", users)
        known = os.path.join(self.apart("home"), "not", "yet", "known")
        read, write = os.pipe()
        os.write(write, (token + "\n").encode())
        os.close(write)
        login = self.start(Process(self.directory, [CLIENT, "-p", server.clients, "--known-servers", known, "login"], stdin=read))
        os.close(read)
        self.assertEqual(login.wait(), 0, login.describe())
        self.client(server, f"o={o.port}")
        self.assertEqual(fetch(server.http, "o.tim.localhost").status, 200)
        open_server = self.server("--state-dir", self.path("other"))
        client = self.client(open_server, "-u", "sue", "--known-servers", known, f"o={o.port}")
        self.await_confined(client)
        wait_for(lambda: os.path.exists(known), lambda: f"the key of the server: {client.describe()}")

    def test_service_on_a_unix_socket_elsewhere(self):
        path = os.path.join(self.apart("socket"), "s")
        self.origin("unix", path=path)
        server = self.server()
        client = self.client(server, "-u", "tim", f"u=unix:{path}")
        self.await_confined(client)
        self.assertEqual(fetch(server.http, "u.tim.localhost").text, "unix GET / 0")

    def test_user_is_the_older_run_as(self):
        if os.geteuid() != 0:
            self.skipTest("only root can give root up")
        for flag in ("--user", "--run-as"):
            with self.subTest(flag):
                server = self.server(flag, "nobody")
                self.await_confined(server)
                self.assertNotIn("0", status_of(server)["Uid"].split())


class Refused(Confined):
    """By a plugin that tries: it is under the wide filter, so what is refused to it is refused to everybody."""

    def probe(self):
        path = os.path.realpath(os.path.join(BUILD, "test", "program", "confine-probe.so"))
        part = path
        while part != "/":
            info = os.lstat(part)
            if info.st_mode & 0o022 or info.st_uid not in (0, os.geteuid()):
                self.skipTest(f"{part} can be written by others, so no server loads a plugin from there")
            part = os.path.dirname(part)
        server = self.server("--auth-plugin", path)
        self.await_confined(server)
        return server

    def tried(self, server, what, path=""):
        return fetch(server.http, "o.tim.localhost", f"/{what}{path}").text

    def test_files_outside_the_places(self):
        if not has_landlock():
            self.skipTest("this kernel has no Landlock")
        elsewhere = self.apart("secret")
        secret = os.path.join(elsewhere, "shadow")
        with open(secret, "w") as f:
            f.write("secret")
        inside = self.path("state/link.key")
        server = self.probe()
        self.assertEqual(self.tried(server, "read", inside), "done")
        self.assertEqual(self.tried(server, "read", "/etc/hosts"), "done")
        refused = str(errno.EACCES)
        self.assertEqual(self.tried(server, "read", secret), refused)
        self.assertEqual(self.tried(server, "read", "/proc/self/root" + secret), refused)
        self.assertEqual(self.tried(server, "write", secret), refused)
        self.assertEqual(self.tried(server, "write", os.path.join(elsewhere, "new")), refused)
        self.assertEqual(self.tried(server, "write", "/etc/mdm-confine-probe"), refused)
        self.assertFalse(os.path.exists("/etc/mdm-confine-probe"))

    def fatal(self, what, path=""):
        server = self.probe()
        try:
            self.tried(server, what, path)
        except (OSError, EOFError):
            pass
        self.assertEqual(server.process.wait(20), -signal.SIGSYS, server.describe())

    def test_another_program_ends_the_process(self):
        self.fatal("execute", "/bin/true")

    def test_tracing_ends_the_process(self):
        if SANITIZED:
            self.skipTest("the leak checker traces")
        self.fatal("trace")


if __name__ == "__main__":
    main()
