"""The two bare commands on their default ports, with the services file in the home directory, as README's first page says."""
import unittest

from tunnel import CLIENT, SERVER, Case, Origin, Process, fetch, main, port_is_free, wait_for


class BareCommands(Case):
    def test_two_bare_commands_give_a_service_a_name(self):
        if not (port_is_free(8000) and port_is_free(8001)):
            raise unittest.SkipTest("ports 8000 and 8001 are taken on this machine")
        origin = self.origin("hello")
        self.write(".tunnel-services.json", {"hello-world": origin.port})
        server = self.start(Process(self.directory, [SERVER]))
        client = self.start(Process(self.directory, [CLIENT, "-u", "tim"]))
        self.await_up(8000)
        for host in ("hello-world.tim.localhost.dev:8000", "hello-world.tim.localhost:8000", "hello-world.tim.example.com", "hello-world--tim.localhost"):
            with self.subTest(host=host):
                self.assertEqual(fetch(8000, host).text, "hello GET / 0")
        # Quiet: on the server the one line about who may reach it; on the client the key at first contact.
        self.assertEqual(server.output(), "")
        self.assertIn("listening on loopback only: no users", server.errors())
        self.assertEqual(len(server.errors().splitlines()), 1, server.errors())
        self.assertEqual(client.output(), "")
        self.assertIn("SHA256:", client.errors())
        client.stop()
        self.assertEqual(client.process.returncode, 0)
        server.stop()
        self.assertEqual(server.process.returncode, 0)

    def await_up(self, port):
        def up():
            try:
                return fetch(port, "hello-world.tim.localhost").status == 200
            except OSError:
                return False
        wait_for(up, "the page")


if __name__ == "__main__":
    main()
