/* mdm/mux.h: one session of the stream protocol, without I/O.
 *
 * Bytes in (mdm_mux_feed), bytes out (mdm_mux_output / mdm_mux_sent), callbacks between. The library
 * reads no clock and no socket, starts no thread and keeps no global: clock and allocator come from
 * the caller. The protocol itself is in PROTOCOL.md.
 *
 * Threads: a session, its streams and its pool belong to one thread. Only mdm_mux_budget is shared.
 *
 * Re-entry: callbacks may call every function below except mdm_mux_feed, mdm_mux_output, mdm_mux_tick
 * and mdm_mux_free on the same session. Output made in a callback is drained by the caller afterwards.
 *
 * Errors: 0 or a negative MDM_MUX_E* value; results by out-parameter.
 */
#ifndef MDM_MUX_H
#define MDM_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MDM_API
#define MDM_API __attribute__((visibility("default")))
#endif
#define MDM_MUST_USE __attribute__((warn_unused_result))

/* ---- limits fixed by the protocol ---- */
#define MDM_FRAME_HEADER 8u             /* u16 length, u8 type, u8 flags, u32 stream; big-endian */
#define MDM_FRAME_PAYLOAD_MAX 16376u    /* with its header one 16 KiB block, one TLS record */
#define MDM_MESSAGE_MAX (1024u * 1024u) /* a control message over all its MORE frames */
#define MDM_MAGIC "MDMMUX\r\n"          /* 8 bytes, sent first by both sides */

enum mdm_mux_error {
  MDM_MUX_OK = 0,
  MDM_MUX_ENOMEM = -1,
  MDM_MUX_ECLOSED = -2,   /* the session has failed or was closed */
  MDM_MUX_EPROTOCOL = -3, /* the peer broke the protocol: mdm_mux_failure() says how */
  MDM_MUX_ESTATE = -4,    /* not allowed now (stream before start, after GOAWAY, ids used up, write after finish) */
  MDM_MUX_ETOOBIG = -5,   /* message or option over its limit */
  MDM_MUX_ELIMIT = -6,    /* stream limit of the peer or the budget reached */
};

/* RESET codes on the wire. */
enum mdm_reset {
  MDM_RESET_NONE = 0,
  MDM_RESET_CANCEL = 1,      /* the side that reads or writes no longer wants it */
  MDM_RESET_REFUSED = 2,     /* unknown or withdrawn service, policy */
  MDM_RESET_CONNECT = 3,     /* the target could not be connected */
  MDM_RESET_TIMEOUT = 4,     /* the target took too long */
  MDM_RESET_STALLED = 5,     /* held bytes over the budget, oldest first; or the stall limit */
  MDM_RESET_CREDIT = 6,      /* more bytes than credit */
  MDM_RESET_PROTOCOL = 7,    /* DATA after FIN, unknown mandatory option */
  MDM_RESET_LIMIT = 8,       /* too many streams, budget at its mark */
  MDM_RESET_INTERNAL = 9,    /* out of memory and the like */
  MDM_RESET_BROKEN = 10,     /* the target's connection was reset */
  MDM_RESET_SHUTDOWN = 11,   /* this side is closing */
};

/* Session-level handshake and control messages, opaque here; their JSON is read by the caller. */
enum mdm_message {
  MDM_MSG_HELLO = 1,
  MDM_MSG_CHALLENGE = 2,
  MDM_MSG_AUTH = 3,
  MDM_MSG_READY = 4,
  MDM_MSG_SERVICES = 5,
  MDM_MSG_SERVICES_OK = 6, /* the answer to SERVICES: ids accepted, URLs, refusals */
};

enum mdm_goaway {
  MDM_GOAWAY_DRAIN = 0,     /* shutting down; connect again */
  MDM_GOAWAY_PROTOCOL = 1,
  MDM_GOAWAY_AUTH = 2,      /* login refused: retrying is pointless */
  MDM_GOAWAY_REPLACED = 3,  /* another instance took over: do not come back */
  MDM_GOAWAY_REVOKED = 4,   /* the credential was withdrawn */
  MDM_GOAWAY_VERSION = 5,   /* no common version */
  MDM_GOAWAY_IDLE = 6,      /* the handshake or a ping took too long */
  MDM_GOAWAY_NAME = 7,      /* every name refused */
  MDM_GOAWAY_INTERNAL = 8,
  MDM_GOAWAY_BUSY = 9,      /* a limit of the server; try later */
  MDM_GOAWAY_RESUME = 10,   /* the session cannot be resumed (feature "resume") */
};

enum mdm_kind { MDM_KIND_HTTP = 1, MDM_KIND_WS = 2, MDM_KIND_TCP = 3 };
enum mdm_scheme { MDM_SCHEME_NONE = 0, MDM_SCHEME_HTTP = 1, MDM_SCHEME_HTTPS = 2 };
enum mdm_role { MDM_ROLE_CLIENT, MDM_ROLE_SERVER };

struct mdm_slice {
  const uint8_t *data;
  size_t size;
};

struct mdm_address {
  uint8_t family;    /* 0 = unknown, 4, 6 */
  uint8_t bytes[16]; /* network order; the first 4 for IPv4 */
  uint16_t port;
};

/* NULL members of a zeroed struct mean the C library. `user` is passed through. */
struct mdm_allocator {
  void *(*alloc)(size_t size, void *user);
  void (*release)(void *memory, void *user);
  void *user;
};

/* ---- budget (process) and pool (loop) ---- */
/* Bytes held for slow readers, over all threads. Shared, thread-safe; outlives every pool.
 * At 50 % of cap windows stop growing, at 75 % OPEN is refused (MDM_RESET_LIMIT), at 100 % the stream of
 * the finding pool with the oldest unconsumed byte is RESET STALLED, then the next, until it fits. */
typedef struct mdm_mux_budget mdm_mux_budget;
MDM_API mdm_mux_budget *mdm_mux_budget_new(size_t cap_bytes, const struct mdm_allocator *allocator) MDM_MUST_USE;
MDM_API void mdm_mux_budget_free(mdm_mux_budget *budget);
MDM_API size_t mdm_mux_budget_held(const mdm_mux_budget *budget);
MDM_API size_t mdm_mux_budget_cap(const mdm_mux_budget *budget);

/* 16 KiB blocks for one thread, with a bounded free list. Outlives its sessions. */
typedef struct mdm_mux_pool mdm_mux_pool;
MDM_API mdm_mux_pool *mdm_mux_pool_new(mdm_mux_budget *budget, const struct mdm_allocator *allocator) MDM_MUST_USE;
MDM_API void mdm_mux_pool_free(mdm_mux_pool *pool);

/* ---- session ---- */
typedef struct mdm_mux mdm_mux;
typedef struct mdm_stream mdm_stream;

/* What an OPEN says. Slices point into the caller's memory (out) or the frame (in: valid during on_open). */
struct mdm_open {
  enum mdm_kind kind;
  uint32_t service;          /* id that the client announced; 0 = `target` names what is wanted */
  struct mdm_slice target;   /* "host:port" or a name; empty when service != 0; at most 512 bytes */
  struct mdm_address visitor;
  enum mdm_scheme scheme;
  struct mdm_slice options;  /* type-length-value list as in PROTOCOL.md; see mdm_option_next */
};

/* Walks an option list: returns 1 and fills the parts, 0 at the end, MDM_MUX_EPROTOCOL when malformed.
 * Options with bit 15 of `type` set are mandatory: an acceptor that does not know one refuses the stream (the session
 * does so itself, see known_options; before `open` is called the list has been checked to be well-formed). */
MDM_API int mdm_option_next(struct mdm_slice *rest, uint16_t *type, struct mdm_slice *value);
/* Appends one option to buf; returns the new size, or MDM_MUX_ETOOBIG. */
MDM_API long mdm_option_put(uint8_t *buf, size_t capacity, size_t size, uint16_t type, const void *value, size_t length);

/* Called with the stream's own `user`. Any member but `data` and `closed` may be NULL. */
struct mdm_stream_ops {
  /* Bytes arrived, or held bytes are offered again (mdm_stream_drain). Returns how many bytes, from the front, were
   * CONSUMED: written to the edge socket, taken into a bounded buffer of the callee, or thrown away. Only those give credit
   * back. The rest is held here and offered again, first, after mdm_stream_drain(). Slices are valid during the call. */
  size_t (*data)(mdm_stream *stream, const struct mdm_slice *slices, size_t count);
  /* The peer finished its half and every byte before it has been consumed. Once. */
  void (*fin)(mdm_stream *stream);
  /* The scheduler names this stream: produce now, at most what mdm_stream_allowance() says, by
   * mdm_stream_reserve/commit or mdm_stream_write, possibly mdm_stream_finish. Return true while more is ready
   * (the stream stays in the schedule and BLOCKED can be told), false when dry (mdm_stream_ready() puts it back). */
  bool (*turn)(mdm_stream *stream);
  /* OPEN_OK: the target is connected. */
  void (*opened)(mdm_stream *stream);
  /* The peer, or the budget, killed the stream. not_delivered: no byte reached the target. Held bytes are gone. `closed` follows. */
  void (*reset)(mdm_stream *stream, enum mdm_reset code, bool not_delivered);
  /* Last call: both halves ended, or reset by either side, or the session died (then reset is called before, with
   * MDM_RESET_SHUTDOWN). The pointer is dead afterwards. */
  void (*closed)(mdm_stream *stream);
};

struct mdm_mux_callbacks {
  uint64_t (*now_us)(void *user); /* monotonic microseconds; required */
  /* A whole handshake or control message. A non-zero return fails the session with GOAWAY PROTOCOL. */
  int (*message)(mdm_mux *mux, enum mdm_message type, const uint8_t *data, size_t size, void *user);
  /* The peer opens a stream. Return MDM_RESET_NONE after mdm_stream_attach() to keep it (then mdm_stream_accept() once
   * its target is connected, or mdm_stream_reset()); any other code refuses it with NOT_DELIVERED and no callback follows. */
  enum mdm_reset (*open)(mdm_mux *mux, mdm_stream *stream, const struct mdm_open *open, void *user);
  void (*pong)(mdm_mux *mux, uint64_t rtt_us, void *user);
  /* The peer drains: open nothing new. Streams above last_id were not delivered and are reset before this call.
   * `text` is `text_size` bytes of untrusted UTF-8. */
  void (*goaway)(mdm_mux *mux, uint32_t last_id, uint16_t code, const char *text, size_t text_size, void *user);
  /* There is output where there was none. Call mdm_mux_output soon (end of this loop iteration);
   * `urgent`: control that should not wait (PING, PONG, GOAWAY). Only note it here: this is called from within other calls. */
  void (*want_output)(mdm_mux *mux, bool urgent, void *user);
};

struct mdm_mux_config {
  enum mdm_role role;
  mdm_mux_pool *pool;                /* required */
  struct mdm_allocator allocator;
  struct mdm_mux_callbacks callbacks;
  void *user;
  uint32_t max_streams;              /* peer-opened streams alive at once; 0 = 65536 */
  uint32_t open_credit;              /* what the peer may send on a stream before OPEN_OK; 0 = 65536 */
  uint32_t window_initial;           /* 0 = by number of active streams: 256K < 64, 64K < 1k, 16K above */
  uint32_t window_max;               /* 0 = 8 MiB */
  size_t growth_pool;                /* 0 = 16 MiB a session */
  uint32_t handshake_max;            /* bytes of one message before start; 0 = 64 KiB for a server, 1 MiB for a
                                      * client, whose READY tells of every service */
  const uint16_t *known_options;     /* mandatory options (bit 15 set) that on_open understands; an OPEN with another one */
  size_t known_options_count;        /* is refused here (MDM_RESET_PROTOCOL). Outlives the session */
};

MDM_API int mdm_mux_new(mdm_mux **out, const struct mdm_mux_config *config) MDM_MUST_USE;
/* Resets every stream (MDM_RESET_SHUTDOWN, with callbacks), then frees. Never from a callback of this session. */
MDM_API void mdm_mux_free(mdm_mux *mux);
MDM_API void *mdm_mux_user(const mdm_mux *mux);

/* Feeds bytes of the carrier, any split. All of them are taken. MDM_MUX_EPROTOCOL or ENOMEM ends the session: a
 * GOAWAY waits in the output, streams have been reset. Slices handed to callbacks point into `data`. */
MDM_API int mdm_mux_feed(mdm_mux *mux, const uint8_t *data, size_t size) MDM_MUST_USE;

/* Runs the scheduler until the high mark and fills `slices` (each at most one 16 KiB block) with what waits to be sent;
 * returns how many. The bytes stay until mdm_mux_sent says that the carrier took them. 0 with mdm_mux_has_output true: a stream
 * was named and put nothing out; want_output tells when to come again. As feed and tick, this may find that the
 * session has failed: mdm_mux_failure. */
MDM_API size_t mdm_mux_output(mdm_mux *mux, struct mdm_slice *slices, size_t count);
MDM_API void mdm_mux_sent(mdm_mux *mux, size_t size);
MDM_API bool mdm_mux_has_output(const mdm_mux *mux); /* built bytes, or a stream that may produce */

/* The handshake is over: streams may flow. peer_open_credit and peer_max_streams are what the peer announced. */
MDM_API void mdm_mux_start(mdm_mux *mux, uint32_t peer_open_credit, uint32_t peer_max_streams);
MDM_API int mdm_mux_send_message(mdm_mux *mux, enum mdm_message type, const void *data, size_t size) MDM_MUST_USE;
MDM_API int mdm_mux_ping(mdm_mux *mux);              /* one outstanding; a second call meanwhile is 0 and does nothing */
MDM_API uint64_t mdm_mux_rtt_us(const mdm_mux *mux);     /* last; 0 = unknown */
MDM_API uint64_t mdm_mux_rtt_min_us(const mdm_mux *mux); /* over the last 30 s */
MDM_API uint64_t mdm_mux_last_receive_us(const mdm_mux *mux);
/* Sends GOAWAY(max id), after one round trip or 1 s GOAWAY(real last id); existing streams go on. drained() is then true
 * once no stream is left and the output is empty. text: at most 1024 bytes. */
MDM_API int mdm_mux_goaway(mdm_mux *mux, enum mdm_goaway code, const char *text);
MDM_API bool mdm_mux_drained(const mdm_mux *mux);
/* How many streams can still be opened here; near 0 the owner replaces the link (at 0 mdm_stream_open is ESTATE). */
MDM_API uint32_t mdm_mux_ids_left(const mdm_mux *mux);
/* Timers of the session: drain steps, stall limits, shrinking, ping timeouts of rate. Call about every 100 ms while streams live. */
MDM_API void mdm_mux_tick(mdm_mux *mux);
MDM_API const char *mdm_mux_failure(const mdm_mux *mux); /* a sentence once failed, else NULL */

struct mdm_mux_stats {
  uint64_t bytes_in, bytes_out, frames_in, frames_out;
  uint64_t streams_opened, streams_accepted, streams_reset;
  uint64_t dropped_bytes;   /* DATA for streams that are gone */
  size_t streams_active, held_bytes, granted_growth;
};
MDM_API void mdm_mux_get_stats(const mdm_mux *mux, struct mdm_mux_stats *stats);

/* ---- streams ----
 * After a reset and until `closed` returns, every call below is allowed and does nothing. A reset or discard inside data() makes its
 * slices invalid. */
/* Opens a stream; `ops` and `user` as in attach. OPEN is in the output at once; DATA may follow within the peer's open credit. */
MDM_API int mdm_stream_open(mdm_mux *mux, const struct mdm_open *open, const struct mdm_stream_ops *ops, void *user,
                            mdm_stream **out) MDM_MUST_USE;
MDM_API void mdm_stream_attach(mdm_stream *stream, const struct mdm_stream_ops *ops, void *user);
MDM_API void *mdm_stream_user(const mdm_stream *stream);
MDM_API uint32_t mdm_stream_id(const mdm_stream *stream);
MDM_API mdm_mux *mdm_stream_mux(const mdm_stream *stream);
MDM_API void mdm_stream_accept(mdm_stream *stream); /* OPEN_OK */

/* Puts the stream into the schedule: it has something to send (or to finish). Idempotent. */
MDM_API void mdm_stream_ready(mdm_stream *stream);
/* Inside turn(): bytes it may still produce in this turn (quantum, credit, room). */
MDM_API size_t mdm_stream_allowance(const mdm_stream *stream);
/* Inside turn(): room for one frame's payload in the session's output (read straight into it), or NULL; then commit what was
 * put there (0 = nothing). One reserve at a time. */
MDM_API uint8_t *mdm_stream_reserve(mdm_stream *stream, size_t *capacity);
MDM_API void mdm_stream_commit(mdm_stream *stream, size_t size);
/* Inside turn(): copies bytes into frames; returns how many were taken (<= allowance). */
MDM_API size_t mdm_stream_write(mdm_stream *stream, const struct mdm_slice *slices, size_t count);
/* Ends this half: FIN rides on the last DATA frame when one is still open in the output. Any time; what turn() has not put out
 * by then is not sent. When the other half has ended, `closed` follows as for a reset. */
MDM_API void mdm_stream_finish(mdm_stream *stream);
/* Kills the stream now: RESET goes out, held bytes are freed, `closed` is called before this returns unless the call is
 * made from inside one of the stream's callbacks (then right after that callback). */
MDM_API void mdm_stream_reset(mdm_stream *stream, enum mdm_reset code, bool not_delivered);
/* The sink has room again: data() is called with the held bytes, before this returns. Inside the stream's own data() it does nothing:
 * the count returned there says it all. */
MDM_API void mdm_stream_drain(mdm_stream *stream);
MDM_API size_t mdm_stream_held(const mdm_stream *stream);
/* Reads no more from the peer: held and coming bytes are thrown away and credited (an unwanted request body). */
MDM_API void mdm_stream_discard(mdm_stream *stream);
/* The answer ended: a window that grew is not granted anew. */
MDM_API void mdm_stream_rest(mdm_stream *stream);
/* RESET STALLED when held bytes were not consumed for so long; 0 = never (tcp, upgraded). Default 0. */
MDM_API void mdm_stream_set_stall_limit(mdm_stream *stream, uint32_t seconds);

#ifdef __cplusplus
}
#endif
#endif
