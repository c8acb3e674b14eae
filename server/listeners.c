/* listeners.c: from the configuration to listening sockets. */
#include "listeners.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

struct place {
  struct mdm_address address;
  bool dual_stack;
  bool optional; /* a machine without IPv6 has no ::1 */
};
struct places {
  struct place list[LISTENERS_MAX];
  size_t count;
};

static void add(struct places *places, const char *text, bool dual_stack, bool optional) {
  struct place *place = &places->list[places->count];
  if (places->count < LISTENERS_MAX && net_address_parse(&place->address, text, strlen(text)) == 0) {
    place->dual_stack = dual_stack;
    place->optional = optional;
    places->count++;
  }
}

static void add_loopback(struct places *places) {
  add(places, "127.0.0.1", false, false);
  add(places, "::1", false, true);
}

static bool find_places(struct places *places, const struct listeners_request *request) {
  const struct server_config *config = request->config;
  *places = (struct places){0};
  for (size_t i = 0; i < config->binds_count; i++) {
    if (places->count + 2 > LISTENERS_MAX)
      return false;
    if (strcmp(config->binds[i], "localhost") == 0)
      add_loopback(places);
    else if (strcmp(config->binds[i], "*") == 0)
      add(places, "::", true, false);
    else
      add(places, config->binds[i], strcmp(config->binds[i], "::") == 0, false);
  }
  if (config->binds_count == 0 && request->loopback_only)
    add_loopback(places);
  else if (config->binds_count == 0)
    add(places, "::", true, false);
  return true;
}

void listeners_explain(char *error, size_t error_size, const struct mdm_address *address, int code, const char *flag) {
  char text[NET_ADDRESS_TEXT];
  net_address_text(text, address, true);
  if (code == UV_EADDRINUSE)
    snprintf(error, error_size, "cannot listen on %s: already in use; another server? choose %s", text, flag);
  else if (code == UV_EACCES)
    snprintf(error, error_size, "cannot listen on %s: not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE, or choose %s", text, flag);
  else if (code == UV_EADDRNOTAVAIL)
    snprintf(error, error_size, "cannot listen on %s: this machine does not have that address; see --bind", text);
  else
    snprintf(error, error_size, "cannot listen on %s: %s", text, uv_strerror(code));
}

static bool no_such_family(int code) {
  return code == UV_EAFNOSUPPORT || code == UV_EADDRNOTAVAIL || code == UV_EPROTONOSUPPORT || code == UV_EINVAL;
}

static int open_place(struct listeners *out, struct net_loop *loop, const struct listeners_request *request, struct place *place) {
  struct net_listener_options options = {.dual_stack = place->dual_stack};
  place->address.port = out->port;
  int code = net_listener_open(&out->list[out->count], loop, &place->address, &options, request->accepted, request->user);
  if (code != 0 && place->dual_stack && no_such_family(code)) { /* no IPv6 here at all */
    net_address_parse(&place->address, "0.0.0.0", 7);
    place->address.port = out->port;
    options.dual_stack = false;
    code = net_listener_open(&out->list[out->count], loop, &place->address, &options, request->accepted, request->user);
  }
  if (code != 0)
    return place->optional && no_such_family(code) ? 0 : code;
  out->port = net_listener_port(out->list[out->count]);
  out->count++;
  return 0;
}

void listeners_close(struct listeners *listeners) {
  for (size_t i = 0; i < listeners->count; i++)
    net_listener_close(listeners->list[i]);
  listeners->count = 0;
}

int listeners_open(struct listeners *out, struct net_loop *loop, const struct listeners_request *request, char *error, size_t error_size) {
  struct places places;
  *out = (struct listeners){0};
  if (!find_places(&places, request)) {
    snprintf(error, error_size, "bind: at most %u addresses", LISTENERS_MAX);
    return -1;
  }
  for (unsigned tries = 0; tries < LISTENERS_PORT_TRIES; tries++) {
    int code = 0;
    out->port = request->port;
    for (size_t i = 0; i < places.count && code == 0; i++) {
      code = open_place(out, loop, request, &places.list[i]);
      if (code != 0)
        listeners_explain(error, error_size, &places.list[i].address, code, request->flag);
    }
    if (code == 0 && out->count > 0)
      return 0;
    listeners_close(out);
    if (request->port != 0 || code != UV_EADDRINUSE)
      break;
  }
  return -1;
}
