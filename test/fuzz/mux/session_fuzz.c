/* session_fuzz.c: any bytes, in any split, into a session whose owner answers like one.
 *
 * Input: byte 0 = role and habits, byte 1 = seed of the splits; the rest is the carrier's stream after the magic (or
 * with it, by a bit of byte 0). The owner's choices (consume how much, reset, drain, finish) come from the same seed.
 */
#include "mdm/mux.h"

#include <stdlib.h>
#include <string.h>

#define ENDS 64

struct fuzz {
  uint64_t clock;
  uint32_t state;
  uint8_t habits;
  mdm_stream *ends[ENDS];
  size_t count;
};

static uint32_t roll(struct fuzz *fuzz) {
  fuzz->state = fuzz->state * 1664525u + 1013904223u;
  return fuzz->state >> 8;
}

static uint64_t now_us(void *user) {
  struct fuzz *fuzz = user;
  return fuzz->clock += 500;
}

static struct fuzz *owner(mdm_stream *stream) {
  return mdm_mux_user(mdm_stream_mux(stream));
}

static void maybe_act(struct fuzz *fuzz) {
  mdm_stream *stream = fuzz->count ? fuzz->ends[roll(fuzz) % fuzz->count] : NULL;
  if (!stream)
    return;
  switch (roll(fuzz) % 12) {
  case 0:
    mdm_stream_reset(stream, MDM_RESET_CANCEL, roll(fuzz) & 1);
    break;
  case 1:
    mdm_stream_drain(stream);
    break;
  case 2:
    mdm_stream_finish(stream);
    break;
  case 3:
    mdm_stream_discard(stream);
    break;
  case 4:
    mdm_stream_rest(stream);
    break;
  case 5:
    mdm_stream_accept(stream);
    break;
  default:
    mdm_stream_ready(stream);
  }
}

static size_t on_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct fuzz *fuzz = owner(stream);
  size_t size = 0;
  unsigned sum = 0;
  for (size_t i = 0; i < count; i++) {
    for (size_t at = 0; at < slices[i].size; at++)
      sum += slices[i].data[at];
    size += slices[i].size;
  }
  if (fuzz->habits & 4)
    maybe_act(fuzz);
  fuzz->state += sum;
  return roll(fuzz) & 1 ? size : size ? roll(fuzz) % (size + 1) : 0;
}

static void on_fin(mdm_stream *stream) {
  struct fuzz *fuzz = owner(stream);
  if (fuzz->habits & 8)
    maybe_act(fuzz);
}

static bool on_turn(mdm_stream *stream) {
  struct fuzz *fuzz = owner(stream);
  size_t capacity;
  uint8_t *p = mdm_stream_reserve(stream, &capacity);
  if (p) {
    size_t n = roll(fuzz) % (capacity + 1);
    memset(p, 'x', n);
    if (fuzz->habits & 16)
      maybe_act(fuzz);
    if (mdm_stream_allowance(stream) > 0)
      mdm_stream_commit(stream, n);
  }
  return roll(fuzz) & 1;
}

static void on_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct fuzz *fuzz = owner(stream);
  (void)code;
  (void)not_delivered;
  if (fuzz->habits & 32)
    maybe_act(fuzz);
}

static void on_closed(mdm_stream *stream) {
  struct fuzz *fuzz = owner(stream);
  for (size_t i = 0; i < fuzz->count; i++)
    if (fuzz->ends[i] == stream) {
      fuzz->ends[i] = fuzz->ends[--fuzz->count];
      return;
    }
}

static const struct mdm_stream_ops ops = {
    .data = on_data, .fin = on_fin, .turn = on_turn, .opened = on_fin, .reset = on_reset, .closed = on_closed};

static enum mdm_reset on_open(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user) {
  struct fuzz *fuzz = user;
  (void)mux;
  (void)open;
  if (fuzz->count == ENDS || roll(fuzz) % 8 == 0)
    return MDM_RESET_REFUSED;
  fuzz->ends[fuzz->count++] = stream;
  mdm_stream_attach(stream, &ops, NULL);
  mdm_stream_set_stall_limit(stream, 1);
  if (roll(fuzz) & 3)
    mdm_stream_accept(stream);
  return MDM_RESET_NONE;
}

static int on_message(mdm_mux *mux, enum mdm_message type, const uint8_t *data, size_t size, void *user) {
  struct fuzz *fuzz = user;
  for (size_t i = 0; i < size; i++)
    fuzz->state += data[i];
  if (type == MDM_MSG_SERVICES && mdm_mux_send_message(mux, MDM_MSG_SERVICES_OK, data, size))
    return -1;
  return roll(fuzz) % 32 == 0;
}

static void drain_output(mdm_mux *mux, struct fuzz *fuzz) {
  struct mdm_slice slices[4];
  for (unsigned round = 0; round < 8; round++) {
    size_t count = mdm_mux_output(mux, slices, 4), size = 0;
    for (size_t i = 0; i < count; i++)
      size += slices[i].size;
    if (size == 0)
      break;
    mdm_mux_sent(mux, roll(fuzz) & 1 ? size : roll(fuzz) % (size + 1));
  }
}

static void open_some(mdm_mux *mux, struct fuzz *fuzz) {
  static const struct mdm_open open = {.kind = MDM_KIND_HTTP, .service = 7};
  for (unsigned i = roll(fuzz) % 4; i > 0 && fuzz->count < ENDS; i--) {
    mdm_stream *stream;
    if (mdm_stream_open(mux, &open, &ops, NULL, &stream))
      return;
    fuzz->ends[fuzz->count++] = stream;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2)
    return 0;
  struct fuzz fuzz = {.clock = 1000000, .habits = data[0], .state = data[1] * 2654435761u + 1};
  mdm_mux_budget *budget = mdm_mux_budget_new(256 * 1024, NULL);
  mdm_mux_pool *pool = budget ? mdm_mux_pool_new(budget, NULL) : NULL;
  mdm_mux *mux = NULL;
  struct mdm_mux_config config = {
      .role = data[0] & 1 ? MDM_ROLE_SERVER : MDM_ROLE_CLIENT,
      .pool = pool,
      .callbacks = {.now_us = now_us, .open = on_open, .message = on_message},
      .user = &fuzz,
      .max_streams = 48,
  };
  data += 2;
  size -= 2;
  if (pool && mdm_mux_new(&mux, &config) == 0) {
    int rc = 0;
    if (!(fuzz.habits & 2)) {
      rc = mdm_mux_feed(mux, (const uint8_t *)MDM_MAGIC, 8);
      mdm_mux_start(mux, 65536, 48);
      open_some(mux, &fuzz);
    }
    while (size > 0 && rc == 0) {
      size_t n = roll(&fuzz) % 4 ? 1 + roll(&fuzz) % 64 : size;
      n = n < size ? n : size;
      rc = mdm_mux_feed(mux, data, n);
      data += n;
      size -= n;
      maybe_act(&fuzz);
      if (roll(&fuzz) % 4 == 0)
        drain_output(mux, &fuzz);
      if (roll(&fuzz) % 16 == 0) {
        fuzz.clock += 200000;
        mdm_mux_tick(mux);
        (void)mdm_mux_ping(mux);
        open_some(mux, &fuzz);
      }
      if (roll(&fuzz) % 256 == 0)
        (void)mdm_mux_goaway(mux, MDM_GOAWAY_DRAIN, "bye");
    }
    drain_output(mux, &fuzz);
    mdm_mux_free(mux);
  }
  mdm_mux_pool_free(pool);
  mdm_mux_budget_free(budget);
  return 0;
}
