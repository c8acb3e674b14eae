/* peer.c: a server as far as the client can tell: link, handshake, verdicts, streams. */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "address.h"
#include "tls.h"

static void send_text(struct peer_link *link, enum mdm_message type, char *text, size_t size) {
  assert_non_null(text);
  assert_int_equal(mdm_mux_send_message(net_link_mux(link->link), type, text, size), 0);
  net_message_free(text, size);
}

static void send_challenge(struct peer_link *link) {
  const struct peer *peer = link->peer;
  struct net_challenge challenge = {
      .version = peer->version == 0 ? 1 : peer->version, .open_mode = !peer->wants_login, .software = "peer"};
  size_t size;
  char *text = net_challenge_encode(&challenge, &size);
  send_text(link, MDM_MSG_CHALLENGE, text, size);
}

static void make_verdicts(const struct peer *peer, struct net_services_ok *out, uint64_t serial) {
  *out = (struct net_services_ok){.serial = serial, .count = peer->services.count};
  out->list = calloc(peer->services.count + 1, sizeof *out->list);
  assert_non_null(out->list);
  for (size_t i = 0; i < peer->services.count; i++) {
    const struct net_service *service = &peer->services.list[i];
    bool refused = peer->refuse_service != NULL &&
                   (strcmp(peer->refuse_service, "*") == 0 || strcmp(peer->refuse_service, service->name) == 0);
    out->list[i].id = service->id;
    out->list[i].verdict = refused ? NET_SERVICE_REFUSED : NET_SERVICE_OK;
    snprintf(out->list[i].reason, sizeof out->list[i].reason, "%s", refused ? "somebody else has it" : "");
    if (!refused)
      snprintf(out->list[i].url, sizeof out->list[i].url, "http://%s.tim.localhost/", service->name);
  }
}

void peer_answer_services(struct peer_link *link, uint64_t serial) {
  struct net_services_ok answer;
  size_t size;
  make_verdicts(link->peer, &answer, serial);
  char *text = net_services_ok_encode(&answer, &size);
  free(answer.list);
  send_text(link, MDM_MSG_SERVICES_OK, text, size);
}

static void send_ready(struct peer_link *link) {
  struct net_ready ready = {
      .session = "s1", .user = "tim", .open_credit = 65536, .max_streams = 1000, .heartbeat_ms = 5000};
  size_t size;
  snprintf(ready.client_name, sizeof ready.client_name, "%s", link->hello.client_name);
  make_verdicts(link->peer, &ready.services, link->peer->services.serial);
  char *text = net_ready_encode(&ready, &size);
  free(ready.services.list);
  send_text(link, MDM_MSG_READY, text, size);
  mdm_mux_start(net_link_mux(link->link), link->hello.open_credit, link->hello.max_streams);
  link->ready = true;
}

static int on_services(struct peer_link *link, const uint8_t *data, size_t size) {
  struct peer *peer = link->peer;
  char error[256];
  net_services_clean(&peer->services);
  if (net_services_decode(&peer->services, data, size, error, sizeof error) != 0)
    fail_msg("SERVICES: %s", error);
  link->services_received++;
  if (link->ready)
    peer_answer_services(link, peer->services.serial);
  else if (peer->refuse >= 0)
    net_link_refuse(link->link, (enum mdm_goaway)peer->refuse, peer->refuse_text);
  else
    send_ready(link);
  return 0;
}

static int on_message(struct net_link *net, enum mdm_message type, const uint8_t *data, size_t size) {
  struct peer_link *link = net_link_owner(net);
  char error[256] = "";
  switch (type) {
  case MDM_MSG_HELLO:
    if (net_hello_decode(&link->hello, data, size, error, sizeof error) != 0)
      fail_msg("HELLO: %s", error);
    link->has_hello = true;
    if (!link->peer->silent)
      send_challenge(link);
    return 0;
  case MDM_MSG_AUTH:
    if (net_auth_decode(&link->auth, data, size, error, sizeof error) != 0)
      fail_msg("AUTH: %s", error);
    link->has_auth = true;
    return 0;
  case MDM_MSG_SERVICES:
    return on_services(link, data, size);
  case MDM_MSG_CHALLENGE:
  case MDM_MSG_READY:
  case MDM_MSG_SERVICES_OK:
    break;
  }
  return -1;
}

static enum mdm_reset on_open(struct net_link *net, mdm_stream *stream, const struct mdm_open *open) {
  (void)net;
  (void)stream;
  (void)open;
  return MDM_RESET_REFUSED;
}

static void on_goaway(struct net_link *net, uint32_t last_id, uint16_t code, const char *text, size_t size) {
  struct peer_link *link = net_link_owner(net);
  (void)last_id;
  (void)code;
  (void)text;
  (void)size;
  link->goaway = true;
}

static void on_ended(struct net_link *net, int error, const char *reason) {
  struct peer_link *link = net_link_owner(net);
  (void)error;
  (void)reason;
  link->link = NULL;
  link->ready = false;
  net_link_close(net);
}

static void on_drained(struct net_link *net) {
  struct peer_link *link = net_link_owner(net);
  link->drained = true;
  link->link = NULL;
  link->ready = false;
  net_link_close(net);
}

static const struct net_link_ops link_ops = {
    .message = on_message,
    .open = on_open,
    .goaway = on_goaway,
    .drained = on_drained,
    .ended = on_ended,
};
static const struct net_conn_ops no_ops = {0};

static void on_accept(struct net_listener *listener, int fd, const struct mdm_address *address, void *user) {
  struct peer *peer = user;
  struct net_conn *conn;
  (void)listener;
  (void)address;
  assert_true(peer->links_count < PEER_LINKS_MAX);
  struct peer_link *link = &peer->links[peer->links_count++];
  *link = (struct peer_link){.peer = peer};
  assert_int_equal(net_conn_open(&conn, &peer->world->loop, fd, &no_ops, NULL), 0);
  if (peer->tls != NULL)
    assert_int_equal(net_tls_push(conn, peer->tls, &(struct net_tls_options){.server = true}), 0);
  const struct net_link_options options = {.role = MDM_ROLE_SERVER, .ops = &link_ops, .owner = link};
  assert_int_equal(net_link_open(&link->link, conn, &options), 0);
}

void peer_open(struct peer *peer, struct world *world, bool tls) {
  struct mdm_address address = {.family = 4, .bytes = {127, 0, 0, 1}};
  char error[256];
  bool made;
  *peer = (struct peer){.world = world, .refuse = -1, .refuse_text = "because"};
  if (tls) {
    assert_int_equal(net_identity_load(&peer->identity, world->directory, &made, error, sizeof error), 0);
    assert_int_equal(net_tls_link_server(&peer->tls, &peer->identity, error, sizeof error), 0);
  }
  const struct net_listener_options options = {0};
  assert_int_equal(net_listener_open(&peer->listener, &world->loop, &address, &options, on_accept, peer), 0);
  peer->port = net_listener_port(peer->listener);
}

void peer_close(struct peer *peer) {
  if (peer->listener != NULL)
    net_listener_close(peer->listener);
  for (size_t i = 0; i < peer->links_count; i++) {
    if (peer->links[i].link != NULL)
      net_link_close(peer->links[i].link);
    net_auth_clean(&peer->links[i].auth);
  }
  net_services_clean(&peer->services);
  if (peer->tls != NULL) {
    net_tls_context_unref(peer->tls);
    net_identity_clean(&peer->identity);
  }
}

static bool has_ready_link(void *argument) {
  const struct peer *peer = argument;
  return peer->links_count > 0 && peer->links[peer->links_count - 1].ready;
}

struct peer_link *peer_ready_link(struct world *world) {
  struct peer *peer = &world->peer;
  world_until(world, has_ready_link, peer, "READY link");
  struct peer_link *link = &peer->links[peer->links_count - 1];
  world_until_heard(world, "connected ");
  return link;
}

uint32_t peer_service_id(struct world *world, const char *name) {
  const struct net_services *services = &world->peer.services;
  for (size_t i = 0; i < services->count; i++)
    if (strcmp(services->list[i].name, name) == 0)
      return services->list[i].id;
  return 0;
}

/* ---- visitors ---- */
static size_t visitor_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct visitor *visitor = mdm_stream_user(stream);
  size_t taken = 0;
  for (size_t i = 0; i < count; i++) {
    if (slices[i].size > VISITOR_BYTES_MAX - visitor->in_size)
      fail_msg("more bytes than the test expects");
    memcpy(visitor->in + visitor->in_size, slices[i].data, slices[i].size);
    visitor->in_size += slices[i].size;
    taken += slices[i].size;
  }
  return taken;
}

static void visitor_fin(mdm_stream *stream) {
  ((struct visitor *)mdm_stream_user(stream))->fin = true;
}

static bool visitor_turn(mdm_stream *stream) {
  struct visitor *visitor = mdm_stream_user(stream);
  size_t allowance = mdm_stream_allowance(stream), left = visitor->out_size - visitor->out_sent;
  struct mdm_slice slice = {visitor->out + visitor->out_sent, left < allowance ? left : allowance};
  if (slice.size > 0)
    visitor->out_sent += mdm_stream_write(stream, &slice, 1);
  if (visitor->out_sent < visitor->out_size)
    return true;
  if (visitor->finish)
    mdm_stream_finish(stream);
  return false;
}

static void visitor_opened(mdm_stream *stream) {
  ((struct visitor *)mdm_stream_user(stream))->opened = true;
}

static void visitor_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct visitor *visitor = mdm_stream_user(stream);
  visitor->reset = code;
  visitor->not_delivered = not_delivered;
}

static void visitor_closed(mdm_stream *stream) {
  struct visitor *visitor = mdm_stream_user(stream);
  visitor->closed = true;
  visitor->stream = NULL;
}

static const struct mdm_stream_ops visitor_ops = {
    .data = visitor_data,
    .fin = visitor_fin,
    .turn = visitor_turn,
    .opened = visitor_opened,
    .reset = visitor_reset,
    .closed = visitor_closed,
};

int visitor_open_raw(struct visitor *visitor, struct peer_link *link, const struct mdm_open *open) {
  visitor->in = malloc(VISITOR_BYTES_MAX);
  assert_non_null(visitor->in);
  return mdm_stream_open(net_link_mux(link->link), open, &visitor_ops, visitor, &visitor->stream);
}

int visitor_open(struct visitor *visitor, struct peer_link *link, uint32_t service, const void *out, size_t size,
                 bool finish) {
  const struct mdm_open open = {
      .kind = MDM_KIND_HTTP,
      .service = service,
      .visitor = {.family = 4, .bytes = {203, 0, 113, 9}, .port = 51000},
      .scheme = MDM_SCHEME_HTTP,
  };
  *visitor = (struct visitor){.out = out == NULL ? (const uint8_t *)"" : out, .out_size = size, .finish = finish};
  int status = visitor_open_raw(visitor, link, &open);
  if (status == 0 && (size > 0 || finish))
    mdm_stream_ready(visitor->stream);
  return status;
}

void visitor_clean(struct visitor *visitor) {
  if (visitor->stream != NULL)
    mdm_stream_reset(visitor->stream, MDM_RESET_CANCEL, false);
  free(visitor->in);
  visitor->in = NULL;
}

bool visitor_is_closed(void *visitor) {
  return ((struct visitor *)visitor)->closed;
}
