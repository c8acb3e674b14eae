/* options_table.c: the one table of options, and the help that is printed from it. */
#include "options.h"

#include <stdio.h>

#define TEXT(member)              OPTIONS_TEXT, offsetof(struct options, member), 0, 0
#define NUMBER(member, low, high) OPTIONS_INTEGER, offsetof(struct options, member), low, high
#define SWITCH(member)            OPTIONS_SWITCH, offsetof(struct options, member), 0, 1
#define COMMAND(command)          OPTIONS_COMMAND, 0, command, 0

const struct options_row options_table[] = {
    {"user", 'u', TEXT(user), 0, "NAME", "user: the address is SERVICE.USER.DOMAIN"},
    {"id", 'i', TEXT(user), 0, NULL, NULL},
    {"server", 'h', TEXT(host), 0, "ADDR",
     "server: name, HOST:PORT, wss:// or https:// address, or a comma list (localhost)"},
    {"port", 'p', NUMBER(port, 1, 65535), 0, "PORT", "port of the server for clients (8001)"},
    {"config", 'c', TEXT(config), OPTIONS_NO_FILE, "FILE", "services file (~/.tunnel-services.json)"},
    {"service-definitions", 's', TEXT(config), OPTIONS_NO_FILE, NULL, NULL},
    {"max-attempts", 0, NUMBER(max_attempts, 0, 1000000000), 0, "N",
     "give up after N failed connects in a row (0: never)"},
    {"name", 0, TEXT(name), 0, "NAME", "name of this client (the host's name)"},
    {"replace", 0, SWITCH(replace), 0, "", "take over services that another client of the user holds"},
    {"token", 0, TEXT(token), OPTIONS_SECRET, "TOKEN", "token (better: MDM_TUNNEL_TOKEN, or the login command)"},
    {"credentials", 0, TEXT(credentials), 0, "FILE", "credentials file (~/.config/mdm-tunnel/credentials.json)"},
    {"fingerprint", 0, TEXT(fingerprint), 0, "SHA256:...", "fingerprint of the server's key"},
    {"strict", 0, SWITCH(strict), 0, "", "refuse a server whose key is not known"},
    {"known-servers", 0, TEXT(known_servers), 0, "FILE", "keys seen before (~/.config/mdm-tunnel/known_servers)"},
    {"ca", 0, TEXT(ca), 0, "FILE|system", "verify the server's certificate with these authorities"},
    {"plaintext", 0, SWITCH(plaintext), 0, "", "without TLS; loopback only"},
    {"carrier", 0, TEXT(carrier), OPTIONS_CHOICES, "tls|ws|auto", "how to reach the server (auto: TLS, then a WebSocket on 443)"},
    {"proxy-url", 0, TEXT(proxy_url), 0, "URL", "HTTP proxy to go through (CONNECT)"},
    {"proxy-username", 0, TEXT(proxy_username), 0, "NAME", "its user name"},
    {"proxy-password", 0, TEXT(proxy_password), OPTIONS_SECRET, "WORD",
     "its password (better: MDM_TUNNEL_PROXY_PASSWORD)"},
    {"heartbeat", 0, NUMBER(heartbeat_s, 1, 3600), 0, "SECONDS", "ask for a sign of life after so long a silence (5)"},
    {"no-sandbox", 0, SWITCH(no_sandbox), OPTIONS_NO_FILE, "", "keep access to every file and system call (for debugging)"},
    {"verbose", 'v', OPTIONS_COUNT, offsetof(struct options, verbose), 0, 2, 0, "",
     "say what happens; twice: every stream"},
    {"quiet", 'q', SWITCH(quiet), 0, "", "print nothing"},
    {"log-format", 0, TEXT(log_format), OPTIONS_CHOICES, "text|json", "form of what -v prints"},
    {"version", 'V', COMMAND(OPTIONS_VERSION), OPTIONS_NO_FILE | OPTIONS_NO_ENV, "", "print the version"},
    {"help", 0, COMMAND(OPTIONS_HELP), OPTIONS_NO_FILE | OPTIONS_NO_ENV, "", "this text (so does -h alone)"},
};
const size_t options_table_size = sizeof options_table / sizeof *options_table;
_Static_assert(sizeof options_table / sizeof *options_table <= OPTIONS_ROWS_MAX, "source[] has a place for every row");

void options_print_help(void) {
  fputs("usage: mdm-tunnel-client [options] [NAME=TARGET ...]\n"
        "       mdm-tunnel-client [options] login      save a token for a server\n"
        "       mdm-tunnel-client hash                 turn a password into a line for \"basic_auth\"\n"
        "\n"
        "Serves local services under public names. TARGET is a port, HOST:PORT or unix:/path; without\n"
        "NAME= the service is named after the current directory.\n"
        "\n",
        stdout);
  for (size_t i = 0; i < options_table_size; i++) {
    const struct options_row *row = &options_table[i];
    char names[64], letter[8] = "    ";
    if (row->metavar == NULL)
      continue;
    if (row->letter != 0)
      snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(names, sizeof names, "%s--%s%s%s", letter, row->name, row->metavar[0] == '\0' ? "" : " ", row->metavar);
    printf("  %-30s %s\n", names, row->help);
  }
  fputs("\nOlder spellings: -i, --id for --user; -s, --service-definitions for --config.\n"
        "Every option can be given as MDM_TUNNEL_NAME in the environment or as a key of the long form of the\n"
        "services file. See mdm-tunnel-client(1) and tunnel-services.json(5).\n",
        stdout);
}
