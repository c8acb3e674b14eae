/* pair.c: see pair.h. */
#include "pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- memory ---- */
static void *alloc(size_t size, void *user) {
  struct test_memory *memory = user;
  if (++memory->calls == memory->fail_at)
    return NULL;
  memory->live++;
  return malloc(size);
}

static void release(void *p, void *user) {
  struct test_memory *memory = user;
  memory->live--;
  free(p);
}

struct mdm_allocator test_allocator(struct test_memory *memory) {
  return (struct mdm_allocator){.alloc = alloc, .release = release, .user = memory};
}

/* ---- random ---- */
uint64_t test_seed(void) {
  const char *given = getenv("MUX_TEST_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
  print_message("MUX_TEST_SEED=%llu\n", (unsigned long long)seed);
  return seed;
}

uint32_t test_next(struct test_random *random) { /* splitmix64 */
  uint64_t z = random->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ (z >> 31)) >> 16);
}

uint32_t test_below(struct test_random *random, uint32_t limit) {
  return test_next(random) % limit;
}

static uint64_t pattern_word(uint32_t id, bool from_opener, uint64_t word) {
  uint64_t z = word * 0x9e3779b97f4a7c15u + id * 2u + (from_opener ? 1u : 0u);
  return (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9u;
}

/* Byte n of a stream's pattern is byte n % 8 of word n / 8. */
static void pattern_fill(uint8_t *into, uint32_t id, bool from_opener, uint64_t at, size_t size) {
  while (size > 0) {
    uint64_t word = pattern_word(id, from_opener, at >> 3);
    size_t skip = at & 7, n = 8 - skip < size ? 8 - skip : size;
    memcpy(into, (uint8_t *)&word + skip, n);
    into += n;
    at += n;
    size -= n;
  }
}

static bool pattern_matches(const uint8_t *data, uint32_t id, bool from_opener, uint64_t at, size_t size) {
  uint8_t want[4096];
  for (size_t n; size > 0; data += n, at += n, size -= n) {
    n = size < sizeof want ? size : sizeof want;
    pattern_fill(want, id, from_opener, at, n);
    if (memcmp(want, data, n) != 0)
      return false;
  }
  return true;
}

/* ---- stream callbacks ---- */
static size_t on_data(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  struct test_end *end = mdm_stream_user(stream);
  bool theirs = !end->ours;
  size_t used = 0;
  end->datas++;
  end->last_count = count;
  assert_int_equal(end->fins, 0);
  for (size_t i = 0; i < count && end->room > 0; i++) {
    size_t n = slices[i].size < end->room ? slices[i].size : (size_t)end->room;
    if (!pattern_matches(slices[i].data, end->id, theirs, end->received, n))
      end->corrupt = true;
    end->received += n;
    used += n;
    if (end->room != UINT64_MAX)
      end->room -= n;
  }
  return used;
}

static void on_fin(mdm_stream *stream) {
  struct test_end *end = mdm_stream_user(stream);
  end->fins++;
}

static bool on_turn(mdm_stream *stream) {
  struct test_end *end = mdm_stream_user(stream);
  bool ours = end->ours;
  uint64_t limit = end->chunk ? end->chunk : UINT64_MAX;
  while (end->sent < end->to_send && limit > 0) {
    size_t capacity;
    uint8_t *p = mdm_stream_reserve(stream, &capacity);
    if (!p)
      break;
    uint64_t n = end->to_send - end->sent < capacity ? end->to_send - end->sent : capacity;
    n = n < limit ? n : limit;
    pattern_fill(p, end->id, ours, end->sent, (size_t)n);
    mdm_stream_commit(stream, (size_t)n);
    end->sent += n;
    limit -= n;
  }
  if (end->sent == end->to_send && end->finish && !end->finished) {
    end->finished = true;
    mdm_stream_finish(stream);
  }
  return end->sent < end->to_send;
}

static void on_opened(mdm_stream *stream) {
  struct test_end *end = mdm_stream_user(stream);
  end->opened++;
}

static void on_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered) {
  struct test_end *end = mdm_stream_user(stream);
  end->resets++;
  end->code = code;
  end->not_delivered = not_delivered;
}

static void on_closed(mdm_stream *stream) {
  struct test_end *end = mdm_stream_user(stream);
  assert_int_equal(end->closes, 0);
  end->closes++;
  end->stream = NULL;
}

const struct mdm_stream_ops test_ops = {
    .data = on_data, .fin = on_fin, .turn = on_turn, .opened = on_opened, .reset = on_reset, .closed = on_closed};

/* ---- session callbacks ---- */
static uint64_t now_us(void *user) {
  struct test_side *side = user;
  return *side->clock;
}

static int on_message(mdm_mux *mux, enum mdm_message type, const uint8_t *data, size_t size, void *user) {
  struct test_side *side = user;
  (void)mux;
  side->messages++;
  side->message_type = type;
  free(side->message);
  side->message = malloc(size + 1);
  memcpy(side->message, data, size);
  side->message_size = size;
  return side->message_answer;
}

static enum mdm_reset on_open(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user) {
  struct test_side *side = user;
  (void)mux;
  if (side->refuse != MDM_RESET_NONE)
    return side->refuse;
  assert_true(side->count < SIDE_STREAMS);
  struct test_end *end = &side->ends[side->count++];
  *end = (struct test_end){.side = side, .stream = stream, .id = mdm_stream_id(stream), .room = side->room};
  end->open = *open;
  assert_true(open->target.size <= sizeof end->target && open->options.size <= sizeof end->options);
  if (open->target.size)
    memcpy(end->target, open->target.data, open->target.size);
  if (open->options.size)
    memcpy(end->options, open->options.data, open->options.size);
  mdm_stream_attach(stream, &test_ops, end);
  if (side->accept)
    mdm_stream_accept(stream);
  return MDM_RESET_NONE;
}

static void on_pong(mdm_mux *mux, uint64_t rtt_us, void *user) {
  struct test_side *side = user;
  (void)mux;
  (void)rtt_us;
  side->pongs++;
  if (side->pong_hook)
    side->pong_hook(side);
}

static void on_goaway(mdm_mux *mux, uint32_t last_id, uint16_t code, const char *text, size_t size, void *user) {
  struct test_side *side = user;
  (void)mux;
  side->goaways++;
  side->goaway_last_id = last_id;
  side->goaway_code = code;
  memcpy(side->goaway_text, text, size);
  side->goaway_text[size] = 0;
}

static void on_want_output(mdm_mux *mux, bool urgent, void *user) {
  struct test_side *side = user;
  (void)mux;
  (void)urgent;
  side->wants++;
}

static int side_init(struct test_side *side, uint64_t *clock, mdm_mux_budget *budget, struct test_memory *memory,
                     const struct mdm_mux_config *config, enum mdm_role role) {
  struct mdm_allocator allocator = test_allocator(memory);
  side->clock = clock;
  side->accept = true;
  side->room = UINT64_MAX;
  side->pool = mdm_mux_pool_new(budget, &allocator);
  if (!side->pool)
    return MDM_MUX_ENOMEM;
  struct mdm_mux_config mine = config ? *config : (struct mdm_mux_config){0};
  mine.role = role;
  mine.pool = side->pool;
  mine.allocator = allocator;
  mine.user = side;
  mine.callbacks = (struct mdm_mux_callbacks){.now_us = now_us,
                                              .message = on_message,
                                              .open = on_open,
                                              .pong = on_pong,
                                              .goaway = on_goaway,
                                              .want_output = on_want_output};
  return mdm_mux_new(&side->mux, &mine);
}

static void side_clean(struct test_side *side) {
  mdm_mux_free(side->mux);
  mdm_mux_pool_free(side->pool);
  free(side->message);
}

/* ---- the pair ---- */
int pair_open(struct test_pair *pair, const struct mdm_mux_config *config, size_t budget_cap) {
  struct mdm_allocator allocator = test_allocator(&pair->memory);
  pair->clock = 1000000;
  if (budget_cap) {
    pair->budget = mdm_mux_budget_new(budget_cap, &allocator);
    if (!pair->budget)
      return MDM_MUX_ENOMEM;
  }
  int rc = side_init(&pair->client, &pair->clock, pair->budget, &pair->memory, config, MDM_ROLE_CLIENT);
  if (!rc)
    rc = side_init(&pair->server, &pair->clock, pair->budget, &pair->memory, config, MDM_ROLE_SERVER);
  if (rc)
    return rc;
  uint32_t credit = config && config->open_credit ? config->open_credit : 65536;
  uint32_t streams = config && config->max_streams ? config->max_streams : 65536;
  mdm_mux_start(pair->client.mux, credit, streams);
  mdm_mux_start(pair->server.mux, credit, streams);
  return 0;
}

void pair_close(struct test_pair *pair) {
  side_clean(&pair->client);
  side_clean(&pair->server);
  for (size_t i = 0; i < pair->client.count; i++)
    assert_false(pair->client.ends[i].corrupt);
  for (size_t i = 0; i < pair->server.count; i++)
    assert_false(pair->server.ends[i].corrupt);
  mdm_mux_budget_free(pair->budget);
  assert_int_equal(pair->memory.live, 0);
}

struct test_pair *pair_new(const struct mdm_mux_config *config, size_t budget_cap) {
  struct test_pair *pair = calloc(1, sizeof *pair);
  assert_non_null(pair);
  assert_int_equal(pair_open(pair, config, budget_cap), 0);
  return pair;
}

void pair_end(struct test_pair *pair) {
  pair_close(pair);
  free(pair);
}

size_t pair_move(struct test_side *from, struct test_side *to, size_t limit) {
  struct mdm_slice slices[8];
  size_t moved = 0;
  while (moved < limit) {
    size_t count = mdm_mux_output(from->mux, slices, 8), round = 0;
    for (size_t i = 0; i < count && moved + round < limit; i++) {
      size_t n = slices[i].size < limit - moved - round ? slices[i].size : limit - moved - round;
      int rc = mdm_mux_feed(to->mux, slices[i].data, n);
      if (rc && rc != MDM_MUX_ECLOSED && !mdm_mux_failure(to->mux))
        fail();
      round += n;
    }
    if (round == 0)
      break;
    mdm_mux_sent(from->mux, round);
    moved += round;
  }
  return moved;
}

size_t pair_run(struct test_pair *pair) {
  size_t moved = 0, round;
  do {
    round = pair_move(&pair->client, &pair->server, 262144);
    round += pair_move(&pair->server, &pair->client, 262144);
    moved += round;
  } while (round > 0);
  return moved;
}

struct test_end *side_open(struct test_side *side, const struct mdm_open *open) {
  static const struct mdm_open plain = {.kind = MDM_KIND_TCP, .service = 1};
  assert_true(side->count < SIDE_STREAMS);
  struct test_end *end = &side->ends[side->count];
  *end = (struct test_end){.side = side, .room = UINT64_MAX, .ours = true};
  if (mdm_stream_open(side->mux, open ? open : &plain, &test_ops, end, &end->stream))
    return NULL;
  end->id = mdm_stream_id(end->stream);
  side->count++;
  return end;
}

struct test_end *side_find(struct test_side *side, uint32_t id) {
  for (size_t i = 0; i < side->count; i++)
    if (side->ends[i].id == id)
      return &side->ends[i];
  return NULL;
}

/* ---- solo ---- */
int solo_open(struct test_solo *solo, const struct mdm_mux_config *config, size_t budget_cap) {
  struct mdm_allocator allocator = test_allocator(&solo->memory);
  enum mdm_role role = config ? config->role : MDM_ROLE_CLIENT;
  solo->clock = 1000000;
  if (budget_cap) {
    solo->budget = mdm_mux_budget_new(budget_cap, &allocator);
    if (!solo->budget)
      return MDM_MUX_ENOMEM;
  }
  return side_init(&solo->side, &solo->clock, solo->budget, &solo->memory, config, role);
}

void solo_start(struct test_solo *solo) {
  uint8_t magic[8];
  assert_int_equal(solo_output(solo, magic, sizeof magic), 8);
  assert_int_equal(mdm_mux_feed(solo->side.mux, (const uint8_t *)MDM_MAGIC, 8), 0);
  mdm_mux_start(solo->side.mux, 65536, 65536);
}

void solo_close(struct test_solo *solo) {
  side_clean(&solo->side);
  mdm_mux_budget_free(solo->budget);
  assert_int_equal(solo->memory.live, 0);
}

struct test_solo *solo_new(const struct mdm_mux_config *config, size_t budget_cap) {
  struct test_solo *solo = calloc(1, sizeof *solo);
  assert_non_null(solo);
  assert_int_equal(solo_open(solo, config, budget_cap), 0);
  solo_start(solo);
  return solo;
}

void solo_end(struct test_solo *solo) {
  solo_close(solo);
  free(solo);
}

int solo_feed(struct test_solo *solo, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t size) {
  static uint8_t frame[8 + 65536];
  frame[0] = (uint8_t)(size >> 8);
  frame[1] = (uint8_t)size;
  frame[2] = type;
  frame[3] = flags;
  frame[4] = (uint8_t)(stream >> 24);
  frame[5] = (uint8_t)(stream >> 16);
  frame[6] = (uint8_t)(stream >> 8);
  frame[7] = (uint8_t)stream;
  if (size)
    memcpy(frame + 8, payload, size);
  return mdm_mux_feed(solo->side.mux, frame, 8 + size);
}

int solo_feed_open(struct test_solo *solo, uint32_t id, uint32_t credit) {
  uint8_t payload[16] = {MDM_KIND_TCP, 0, 0, 0, 0, 0, 0, 1};
  payload[8] = (uint8_t)(credit >> 24);
  payload[9] = (uint8_t)(credit >> 16);
  payload[10] = (uint8_t)(credit >> 8);
  payload[11] = (uint8_t)credit;
  return solo_feed(solo, 0x10, 0, id, payload, sizeof payload);
}

size_t solo_output(struct test_solo *solo, uint8_t *into, size_t capacity) {
  struct mdm_slice slices[8];
  size_t size = 0, count;
  while ((count = mdm_mux_output(solo->side.mux, slices, 8)) > 0) {
    size_t round = 0;
    for (size_t i = 0; i < count; i++) {
      assert_true(size + slices[i].size <= capacity);
      memcpy(into + size, slices[i].data, slices[i].size);
      size += slices[i].size;
      round += slices[i].size;
    }
    mdm_mux_sent(solo->side.mux, round);
  }
  return size;
}

bool frames_find(const uint8_t *bytes, size_t size, uint8_t type, unsigned nth, struct mdm_slice *frame) {
  for (size_t at = 0; at + 8 <= size;) {
    size_t length = 8u + ((size_t)bytes[at] << 8 | bytes[at + 1]);
    assert_true(at + length <= size);
    if (bytes[at + 2] == type && nth-- == 0) {
      *frame = (struct mdm_slice){bytes + at, length};
      return true;
    }
    at += length;
  }
  return false;
}

size_t frames_count(const uint8_t *bytes, size_t size, uint8_t type) {
  struct mdm_slice frame;
  size_t n = 0;
  while (frames_find(bytes, size, type, (unsigned)n, &frame))
    n++;
  return n;
}
