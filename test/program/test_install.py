"""`cmake --install`: programs, libraries, headers, pkg-config files and man pages are where they belong and enough to build against."""
import glob
import os
import shutil
import subprocess
import unittest

from tunnel import BUILD, SANITIZED, SOURCE, Case, main


class Install(Case):
    def setUp(self):
        super().setUp()
        self.prefix = self.path("usr")
        subprocess.run(["cmake", "--install", BUILD, "--prefix", self.prefix], check=True, capture_output=True)

    def found(self, pattern):
        return glob.glob(os.path.join(self.prefix, pattern), recursive=True)

    def test_files_are_in_place(self):
        for pattern in ("bin/mdm-tunnel-server", "bin/mdm-tunnel-client", "include/mdm/mux.h", "include/mdm/server.h", "include/mdm/client.h", "include/mdm/auth.h",
                        "lib/**/pkgconfig/mdm-mux.pc", "lib/**/pkgconfig/mdm-server.pc", "lib/**/pkgconfig/mdm-client.pc", "share/man/man1/mdm-tunnel-server.1",
                        "share/man/man1/mdm-tunnel-client.1", "share/man/man5/tunnel-services.json.5"):
            with self.subTest(pattern):
                self.assertTrue(self.found(pattern))

    def test_installed_programs_run(self):
        for name in ("mdm-tunnel-server", "mdm-tunnel-client"):
            status, out, _ = self.program([os.path.join(self.prefix, "bin", name), "-V"])
            self.assertEqual(status, 0)
            self.assertTrue(out)

    def test_man_pages_are_well_formed(self):
        if not shutil.which("mandoc"):
            raise unittest.SkipTest("no mandoc here")
        for page in self.found("share/man/man*/*"):
            with self.subTest(page):
                lint = subprocess.run(["mandoc", "-T", "lint", "-W", "error", page], capture_output=True, text=True)
                self.assertEqual((lint.returncode, lint.stdout), (0, ""))

    def test_libraries_build_a_program_by_pkg_config_alone(self):
        env = dict(os.environ, PKG_CONFIG_PATH=":".join({os.path.dirname(p) for p in self.found("lib/**/pkgconfig/*.pc")}))
        sources = {
            "mdm-mux": "#include <mdm/mux.h>\nint main(void) { struct mdm_address a = {0}; (void)a; return 0; }\n",
            "mdm-client": "#include <mdm/client.h>\nint main(void) { struct mdm_client_options o; mdm_client_options_init(&o); return 0; }\n",
            "mdm-server": "#include <mdm/server.h>\nint main(void) { struct mdm_server_options o = {0}; mdm_server *s = 0; char e[256]; if (mdm_server_new(&s, &o, e, sizeof e) == 0) mdm_server_free(s); return 0; }\n",
        }
        for package, source in sources.items():
            with self.subTest(package):
                path = self.write(package + ".c", source)
                flags = subprocess.run(["pkg-config", "--cflags", "--libs", "--static", package], env=env, capture_output=True, text=True)
                self.assertEqual(flags.returncode, 0, flags.stderr)
                sanitize = ["-fsanitize=" + os.environ["MDM_SANITIZED"]] if SANITIZED else []
                build = subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", "-o", self.path(package), path, *sanitize, *flags.stdout.split()], capture_output=True, text=True)
                self.assertEqual(build.returncode, 0, build.stderr)
                rpath = {"LD_LIBRARY_PATH": ":".join({os.path.dirname(p) for p in self.found("lib/**/*.so*")})}
                self.assertEqual(subprocess.run([self.path(package)], env=dict(os.environ, **rpath)).returncode, 0)

    def test_nothing_of_the_source_tree_is_installed_by_accident(self):
        for root, _, names in os.walk(self.prefix):
            for name in names:
                self.assertNotIn("llhttp", name)
                self.assertFalse(name.startswith("example-"), os.path.join(root, name))
        for pc in self.found("lib/**/pkgconfig/*.pc"):
            with open(pc) as f:
                self.assertNotIn(SOURCE, f.read())


if __name__ == "__main__":
    main()
