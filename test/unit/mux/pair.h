/* pair.h: what the tests of the mux share: a virtual clock, an allocator that can fail, a peer written byte by byte,
 * and two sessions joined back to back. */
#ifndef TEST_MUX_PAIR_H
#define TEST_MUX_PAIR_H

#include "mdm/mux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* ---- an allocator that counts, and fails the nth ---- */
struct test_memory {
  size_t live, calls;
  size_t fail_at; /* this call fails; 0 = none */
};
struct mdm_allocator test_allocator(struct test_memory *memory);

/* ---- pseudo-random numbers: the seed is printed, so that a failure can be repeated ---- */
struct test_random {
  uint64_t state;
};
uint64_t test_seed(void); /* MUX_TEST_SEED, else the time */
uint32_t test_next(struct test_random *random);
uint32_t test_below(struct test_random *random, uint32_t limit);

/* ---- one side ---- */
#define SIDE_STREAMS 2048

struct test_side;

/* One end of a stream: sends `to_send` bytes of a pattern, checks that what comes is the pattern. */
struct test_end {
  struct test_side *side;
  mdm_stream *stream; /* NULL once closed */
  uint32_t id;
  bool ours; /* we opened it */
  uint64_t to_send, sent, received;
  uint64_t room;  /* what the sink takes now; UINT64_MAX = all */
  uint32_t chunk; /* most that one turn puts; 0 = all that it may */
  bool finish;    /* FIN after to_send */
  bool corrupt;   /* a byte was not the pattern's */
  bool finished, not_delivered, rested;
  int opened, fins, resets, closes, datas;
  size_t last_count; /* slices of the last data() */
  enum mdm_reset code;
  struct mdm_open open;
  uint8_t target[64], options[64];
};

struct test_side {
  mdm_mux *mux;
  mdm_mux_pool *pool;
  uint64_t *clock;
  struct test_end ends[SIDE_STREAMS];
  size_t count;
  bool accept;           /* OPEN_OK at once */
  enum mdm_reset refuse; /* answer to every OPEN */
  uint64_t room;         /* for new peer-opened streams */
  void (*pong_hook)(struct test_side *side);
  int messages, pongs, goaways, wants;
  enum mdm_message message_type;
  uint8_t *message; /* a copy of the last */
  size_t message_size;
  int message_answer;
  uint32_t goaway_last_id;
  uint16_t goaway_code;
  char goaway_text[1100];
};

struct test_pair {
  uint64_t clock;
  struct test_memory memory;
  mdm_mux_budget *budget;
  struct test_side client, server;
};

/* Everything has its default where the config is zero. budget_cap 0 = no budget. */
int pair_open(struct test_pair *pair, const struct mdm_mux_config *config, size_t budget_cap);
void pair_close(struct test_pair *pair);                                            /* asserts that no memory is left */
struct test_pair *pair_new(const struct mdm_mux_config *config, size_t budget_cap); /* on the heap; must succeed */
void pair_end(struct test_pair *pair);
/* Moves bytes until nobody has any; at most `limit` bytes a side and round. Returns bytes moved. */
size_t pair_run(struct test_pair *pair);
size_t pair_move(struct test_side *from, struct test_side *to, size_t limit);

struct test_end *side_open(struct test_side *side, const struct mdm_open *open); /* NULL: refused locally */
struct test_end *side_find(struct test_side *side, uint32_t id);
extern const struct mdm_stream_ops test_ops;

/* ---- one session against bytes written by hand ---- */
struct test_solo {
  uint64_t clock;
  struct test_memory memory;
  mdm_mux_budget *budget;
  struct test_side side;
};
int solo_open(struct test_solo *solo, const struct mdm_mux_config *config, size_t budget_cap);
struct test_solo *solo_new(const struct mdm_mux_config *config, size_t budget_cap); /* opened and started */
void solo_end(struct test_solo *solo);
void solo_start(struct test_solo *solo); /* magic exchanged, streams flow */
void solo_close(struct test_solo *solo);
int solo_feed(struct test_solo *solo, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t size);
int solo_feed_open(struct test_solo *solo, uint32_t id, uint32_t credit);
/* Takes all output, up to `capacity` bytes, and says how many there were. */
size_t solo_output(struct test_solo *solo, uint8_t *into, size_t capacity);
/* The nth (from 0) frame of that type in bytes; false when there is none. */
bool frames_find(const uint8_t *bytes, size_t size, uint8_t type, unsigned nth, struct mdm_slice *frame);
size_t frames_count(const uint8_t *bytes, size_t size, uint8_t type);

#endif
