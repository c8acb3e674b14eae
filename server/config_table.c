/* config_table.c: the table of settings, and the help text printed from it. */
#include "config_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "http_head.h"

#define NUMBER_LIMIT 0xffffffffu
#define BYTES_LIMIT ((uint64_t)1 << 53) /* what a JSON number holds exactly */
#define SECONDS_LIMIT 86400u

static const char *const access_formats[] = {"combined", "json", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const clash_policies[] = {"reject", "replace", "balance", NULL};

static bool check_bind(const char *text, char *why, size_t why_size) {
  struct mdm_address address;
  if (strcmp(text, "localhost") == 0 || strcmp(text, "*") == 0 || net_address_parse(&address, text, strlen(text)) == 0)
    return true;
  snprintf(why, why_size, "must be an IP address, \"localhost\" or \"*\", not \"%s\"", text);
  return false;
}

static bool check_domain(const char *text, char *why, size_t why_size) {
  size_t size = strlen(text), label = 0;
  bool good = size > 0 && size <= 200;
  if (good && text[size - 1] == '.')
    size--;
  for (size_t i = 0; good && i <= size; i++) {
    if (i == size || text[i] == '.') {
      good = label > 0 && label <= 63 && text[i - 1] != '-' && text[i - label] != '-';
      label = 0;
    } else {
      good = isalnum((unsigned char)text[i]) || text[i] == '-';
      label++;
    }
  }
  if (!good)
    snprintf(why, why_size, "must be a domain name such as example.com, without \"*.\", scheme or port, not \"%s\"", text);
  return good;
}

static bool check_admin(const char *text, char *why, size_t why_size) {
  struct mdm_address address;
  if (server_config_admin_address(text, &address) != 0) {
    snprintf(why, why_size, "must be ADDRESS:PORT with an IP address, or a port, not \"%s\"", text);
    return false;
  }
  if (!net_address_is_loopback(&address)) {
    snprintf(why, why_size, "must be a loopback address such as 127.0.0.1:9090, not \"%s\": it has no password", text);
    return false;
  }
  return true;
}

static bool check_absolute(const char *text, char *why, size_t why_size) {
  if (text[0] == '/')
    return true;
  snprintf(why, why_size, "must be an absolute path, not \"%s\"", text);
  return false;
}

static bool check_http_url(const char *text, char *why, size_t why_size) {
  size_t scheme = strncmp(text, "http://", 7) == 0 ? 7 : strncmp(text, "https://", 8) == 0 ? 8 : 0;
  if (scheme > 0 && strcspn(text + scheme, "/:") > 0)
    return true;
  snprintf(why, why_size, "must be an http:// or https:// address such as http://127.0.0.1:9100/check, not \"%s\"", text);
  return false;
}

static bool check_token(const char *text, char *why, size_t why_size) {
  if (text[0] != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!#$%&'*+^`|~") == strlen(text))
    return true;
  snprintf(why, why_size, "must be the name of a header field, not \"%s\"", text);
  return false;
}

#define AT(member) .offset = offsetof(struct server_config, member)
#define PORT(member) .type = SETTING_PORT, AT(member), .min = 0, .max = 65535, .metavar = "PORT"
#define SWITCH(member) .type = SETTING_SWITCH, AT(member)
#define TEXT(member) .type = SETTING_TEXT, AT(member)
#define FILE_PATH(member) .type = SETTING_TEXT, AT(member), .path = true
#define LIST(member) .type = SETTING_LIST, AT(member), .count_offset = offsetof(struct server_config, member##_count)
#define CIDRS(member) .type = SETTING_CIDRS, AT(member), .count_offset = offsetof(struct server_config, member##_count)
#define CHOICE(member, list) .type = SETTING_CHOICE, AT(member), .choices = list
#define SECONDS(member, low) .type = SETTING_SECONDS, AT(timeouts.member), .min = low, .max = SECONDS_LIMIT, .metavar = "SECONDS"
#define LIMIT32(member, low) .section = "limits", .type = SETTING_U32, AT(limits.member), .min = low, .max = NUMBER_LIMIT
#define LIMIT64(member) .section = "limits", .type = SETTING_U64, AT(limits.member), .min = 0, .max = BYTES_LIMIT

const struct setting config_table[] = {
    {.name = "port", .letter = 'p', PORT(port), .fixed = true, .help = "public HTTP (8000); 0 = any free one"},
    {.name = "client-port", .letter = 'c', PORT(client_port), .fixed = true, .help = "for clients (8001)"},
    {.name = "https-port", PORT(https_port), .fixed = true, .help = "public HTTPS (8443 when there are certificates)"},
    {.name = "bind", LIST(binds), .fixed = true, .check = check_bind, .metavar = "ADDRESS", .help = "listen here only; repeatable"},
    {.name = "domain", LIST(domains), .check = check_domain, .metavar = "NAME", .help = "serve names under this domain; repeatable"},
    {.name = "tls-cert", FILE_PATH(tls_cert), .metavar = "FILE", .help = "certificate chain for HTTPS, PEM"},
    {.name = "tls-key", FILE_PATH(tls_key), .metavar = "FILE", .help = "its key, PEM"},
    {.name = "tls-dir", FILE_PATH(tls_dir), .metavar = "DIR", .help = "certificates: NAME.crt and NAME.key, or NAME/fullchain.pem"},
    {.name = "redirect-http", SWITCH(redirect_http), .help = "answer plain HTTP with a redirect to HTTPS"},
    {.name = "users", FILE_PATH(users_file), .fixed = true, .metavar = "FILE", .help = "users and their tokens (mdm-tunnel-server user add)"},
    {.name = "auth-plugin", TEXT(auth_plugin), .check = check_absolute, .fixed = true, .metavar = "FILE", .help = "hook: shared object, absolute path"},
    {.name = "auth-config", FILE_PATH(auth_config), .fixed = true, .metavar = "FILE", .help = "its configuration, handed on as it is"},
    {.name = "auth-url", TEXT(auth_url), .check = check_http_url, .fixed = true, .metavar = "URL", .help = "hook: ask this address about every visit"},
    {.name = "auth-login-url", TEXT(auth_login_url), .check = check_http_url, .fixed = true, .metavar = "URL", .help = "hook: ask this address about logins and claims"},
    {.name = "auth-field", LIST(auth_fields), .check = check_token, .metavar = "NAME", .help = "field that hooks may hand to services; repeatable"},
    {.name = "trusted-proxy", CIDRS(trusted), .metavar = "CIDR", .help = "believe its X-Forwarded-* and PROXY header; repeatable"},
    {.name = "proxy-protocol", SWITCH(proxy_protocol), .help = "trusted proxies send the PROXY header (v1 or v2)"},
    {.name = "access-log", FILE_PATH(access_log), .metavar = "FILE|-", .help = "one line for each request; - is standard output"},
    {.name = "access-log-format", CHOICE(access_format, access_formats), .metavar = "combined|json", .help = "their form (combined)"},
    {.name = "state-dir", FILE_PATH(state_dir), .fixed = true, .metavar = "DIR", .help = "where the link key is kept"},
    {.name = "link-cert", FILE_PATH(link_cert), .fixed = true, .metavar = "FILE", .help = "certificate for clients instead of the self-made one"},
    {.name = "link-key", FILE_PATH(link_key), .fixed = true, .metavar = "FILE", .help = "its key"},
    {.name = "admin", TEXT(admin), .fixed = true, .check = check_admin, .metavar = "ADDRESS:PORT", .help = "/metrics and /healthz, loopback only"},
    {.name = "open", SWITCH(open), .fixed = true, .help = "listen everywhere although anybody may log in"},
    {.name = "plaintext", SWITCH(plaintext), .fixed = true, .help = "clients without TLS; loopback only"},
    {.name = "clash", CHOICE(clash, clash_policies), .metavar = "reject|replace|balance", .help = "when two clients serve one name (reject)"},
    {.name = "allow-reserved", LIST(reserved_allowed), .check = check_domain, .metavar = "NAME", .help = "reserved user name that may be taken; repeatable"},
    {.name = "hold", SECONDS(hold_ms, 0), .help = "a request waits for a client that reconnects (5)"},
    {.name = "drain", SECONDS(drain_ms, 0), .help = "time to finish after SIGTERM (30)"},
    {.name = "user", TEXT(run_as), .fixed = true, .metavar = "NAME", .help = "give up root for this user once the ports are open"},
    {.name = "run-as", TEXT(run_as), .metavar = "NAME"}, /* an older spelling of it */
    {.name = "no-sandbox", SWITCH(no_sandbox), .fixed = true, .help = "keep access to every file and system call (for debugging)"},
    {.name = "config", .type = SETTING_TEXT, AT(file), .path = true, .no_file = true, .metavar = "FILE", .help = "JSON file with the same settings; flags win"},
    {.name = "log-format", CHOICE(log_format, log_formats), .fixed = true, .metavar = "text|json", .help = "form of what -v prints (text)"},
    {.name = "verbose", .letter = 'v', .type = SETTING_COUNT, AT(verbose), .max = 2, .fixed = true, .help = "say what happens; twice: everything"},
    {.name = "quiet", .letter = 'q', SWITCH(quiet), .fixed = true, .help = "print nothing"},
    {.name = "version", .letter = 'V', .type = SETTING_COMMAND, .command = CONFIG_VERSION, .no_file = true, .help = "print the version"},
    {.name = "help", .letter = 'h', .type = SETTING_COMMAND, .command = CONFIG_HELP, .no_file = true, .help = "this text"},

    {LIMIT32(head_bytes, 1024), .name = "head-bytes"},
    {.section = "limits", .type = SETTING_U32, AT(limits.head_fields), .min = 8, .max = HTTP_FIELDS_MAX, .name = "head-fields"},
    {LIMIT32(target_bytes, 64), .name = "target-bytes"},
    {LIMIT32(trailer_bytes, 0), .name = "trailer-bytes"},
    {LIMIT32(chunk_extension_bytes, 0), .name = "chunk-extension-bytes"},
    {LIMIT64(request_body_bytes), .name = "request-body-bytes"},
    {LIMIT32(connections, 0), .name = "connections"},
    {LIMIT32(connections_per_address, 0), .name = "connections-per-address"},
    {LIMIT32(requests_per_address, 0), .name = "requests-per-second-per-address"},
    {LIMIT32(requests_per_user, 0), .name = "requests-per-second-per-user"},
    {LIMIT32(agents, 0), .name = "agents"},
    {LIMIT32(agents_per_user, 0), .name = "agents-per-user"},
    {LIMIT32(services_per_user, 0), .name = "services-per-user"},
    {LIMIT32(streams_per_agent, 0), .name = "streams-per-agent"},
    {LIMIT64(held_bytes), .name = "held-bytes", .fixed = true},

    {.section = "timeouts", SECONDS(head_ms, 1), .name = "head"},
    {.section = "timeouts", SECONDS(idle_ms, 1), .name = "idle"},
    {.section = "timeouts", SECONDS(answer_ms, 0), .name = "answer"},
    {.section = "timeouts", SECONDS(write_stall_ms, 0), .name = "write-stall"},
    {.section = "timeouts", SECONDS(handshake_ms, 1), .name = "handshake"},
    {.section = "timeouts", SECONDS(auth_ms, 1), .fixed = true, .name = "auth"},
    {.section = "timeouts", SECONDS(heartbeat_ms, 1), .name = "heartbeat"},
    {.section = "timeouts", SECONDS(silence_ms, 2), .name = "silence"},
};
const size_t config_table_size = sizeof config_table / sizeof *config_table;
_Static_assert(sizeof config_table / sizeof *config_table <= CONFIG_TABLE_MAX, "the loader's sets have a place for every setting");
_Static_assert(sizeof(enum access_format) == sizeof(unsigned), "choices are stored as unsigned");

#define HELP_COLUMN 34
void server_config_help(FILE *out) {
  fputs("usage: mdm-tunnel-server [options]\n"
        "       mdm-tunnel-server user add|remove|list|rotate ...\n"
        "       mdm-tunnel-server fingerprint [options]    print the fingerprint of the key that clients see\n"
        "\n"
        "Gives the web services of its clients public names: http://SERVICE.USER.DOMAIN/\n"
        "\n",
        out);
  for (size_t i = 0; i < config_table_size; i++) {
    const struct setting *s = &config_table[i];
    char names[80], letter[8] = "    ";
    if (s->help == NULL)
      continue;
    if (s->letter != 0)
      snprintf(letter, sizeof letter, "-%c, ", s->letter);
    snprintf(names, sizeof names, "  %s--%s%s%s", letter, s->name, s->metavar == NULL ? "" : " ", s->metavar == NULL ? "" : s->metavar);
    fprintf(out, "%-*s%s%s\n", HELP_COLUMN, names, strlen(names) >= HELP_COLUMN ? " " : "", s->help);
  }
  fputs("\n"
        "Older spelling: --run-as for --user.\n"
        "Limits and timeouts are set in the configuration file; see mdm-tunnel-server(1).\n"
        "Exit: 0 stopped as asked, 1 failed while running, 2 wrong command line, 3 wrong configuration, 4 cannot listen.\n",
        out);
}
