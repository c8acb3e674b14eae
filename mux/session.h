/* session.h: what the files of this library share: the session, the stream, and who may call what.
 *
 *   feed -> input.c -> stream.c -> flow.c (deliver, hold, credit) -> the owner's callbacks
 *   owner -> stream.c / message.c / link.c -> output.c <- schedule.c (mdm_mux_output pulls)
 */
#ifndef MDM_MUX_SESSION_H
#define MDM_MUX_SESSION_H

#include "buffer.h"
#include "frame.h"
#include "list.h"
#include "map.h"
#include "mdm/mux.h"

#define QUANTUM            ((int32_t)BLOCK_SIZE) /* deficit round robin: one full frame a turn */
#define FRAME_SENSIBLE     2048u                 /* no DATA frame is cut below this to fill a block */
#define MARK_MIN           BLOCK_SIZE            /* the output's high mark: at least a frame */
#define MARK_MAX           (64u * 1024u)
#define BATCH_SLICES       32u            /* slices merged into one data() call */
#define WINDOW_FEW         (256u * 1024u) /* initial window below ACTIVE_FEW streams */
#define WINDOW_SOME        (64u * 1024u)  /* below ACTIVE_SOME */
#define WINDOW_MANY        (16u * 1024u)
#define ACTIVE_FEW         64u
#define ACTIVE_SOME        1000u
#define WINDOW_FREE_GROWTH (1024u * 1024u) /* windows double up to here; past it the path must be long */
#define WINDOW_MAX         (8u * 1024u * 1024u)
#define GROWTH_POOL        (16u * 1024u * 1024u)
#define LONG_PATH_US       10000u
#define MAX_STREAMS        65536u
#define OPEN_CREDIT        65536u
#define HANDSHAKE_MAX      65536u
#define OUTPUT_MAX         (4u * 1024u * 1024u)  /* messages are refused while so much waits: four of the largest */
#define UNACCEPTED_MAX     (16u * 1024u * 1024u) /* held for streams whose target is not connected yet */
#define LATE_SLACK         (64 * 1024)           /* DATA beyond all credit that ever was: one small mistake */
#define PONGS_MAX          16u                   /* PONGs that wait; an honest peer has one PING outstanding */
#define RESETS_MAX         65536u                /* RESETs that wait: every stream of a session at once */
#define FLOOD_BURST        65536                 /* control frames at once, see flood.c */
#define FLOOD_PER_SECOND   10000
#define RTT_HALF_US        15000000u /* the minimum round trip covers two of these */
#define STALLED_PER_TICK   32u       /* streams reset for their stall limit; the rest at the next tick */
#define DRAIN_WAIT_US      1000000u  /* first to second GOAWAY at the latest */
#define RATE_WINDOW_US     10000u    /* output rate: shortest sample */
#define RECEIVE_WINDOW_US  100000u   /* input rate: shortest sample */
#define FAILURE_TEXT       160u

struct mdm_stream {
  mdm_mux *mux;
  const struct mdm_stream_ops *ops;
  void *user;
  uint32_t id;
  uint32_t send_credit;
  uint32_t recv_credit;   /* the peer may still send so much */
  uint32_t window;        /* recv_credit + held never exceeds this by a grant */
  uint32_t window_base;   /* window before growth */
  uint32_t stall_limit_s; /* 0 = none */
  int32_t deficit;
  uint16_t busy;     /* callbacks of this stream that are running */
  bool local : 1;    /* we opened it */
  bool accepted : 1; /* OPEN_OK sent or received */
  bool attached : 1;
  bool dead : 1;     /* unlinked; freed once busy is 0 */
  bool ready : 1;    /* has something to send */
  bool runnable : 1; /* ready, with credit, accepted: counted in mux->runnable */
  bool fin_sent : 1;
  bool fin_received : 1;
  bool fin_delivered : 1;
  bool discard : 1;
  bool delivering : 1; /* inside data() */
  bool refund : 1;     /* its OPEN is still charged to the flood account */
  bool answered : 1;   /* ours: OPEN_OK was seen */
  struct chain held;
  uint64_t progress_us; /* last consumption, or the first byte held */
  struct list all_link, turn_link, window_link, held_link;
};

struct batch { /* DATA of one feed for one stream, not yet delivered */
  mdm_stream *stream;
  size_t count, size;
  bool blocked;
  struct mdm_slice slices[BATCH_SLICES];
};

enum input_step { INPUT_MAGIC, INPUT_HEADER, INPUT_DATA, INPUT_SKIP, INPUT_PAYLOAD };

struct input {
  enum input_step step;
  uint32_t have;      /* bytes of magic, header or payload gathered */
  uint32_t remaining; /* of this frame's payload */
  struct frame frame;
  mdm_stream *stream; /* of this DATA frame; NULL when it is gone */
  uint8_t header[MDM_FRAME_HEADER];
  struct block *payload; /* a control frame that spans feeds */
  uint8_t *message;      /* a message that spans frames */
  size_t message_size, message_capacity;
  uint8_t message_type; /* 0 = none open */
};

struct output {
  struct chain chain;
  uint64_t total; /* bytes ever put in */
  uint64_t sent;
  uint32_t mark;
  /* The DATA frame at the very end, whose header may still change; NULL = none. Never survives mdm_mux_output. */
  uint8_t *open_header;
  mdm_stream *open_stream;
  uint32_t reserved; /* room handed out by reserve */
  struct block *reserve_block;
  uint8_t *reserve_header; /* of the frame that the reserve continues; NULL = a new one */
  /* rate of the carrier, measured only while it holds us up */
  bool busy;
  uint64_t busy_since_us, busy_sent;
  uint64_t rate; /* bytes a second; 0 = never the limit */
  /* RESETs that wait */
  uint32_t resets;
  uint64_t resets_until;
};

enum drain_step { DRAIN_NO, DRAIN_FIRST, DRAIN_LAST };

struct mdm_mux {
  struct mdm_mux_config config;
  mdm_mux_pool *pool;
  struct list pool_link;
  struct map map;
  struct list streams; /* all */
  struct list fresh;   /* schedule: new and sparse */
  struct list queue;   /* schedule: the rest */
  struct list windows; /* WINDOW is due */
  struct list holding; /* held bytes, the oldest first */
  struct input input;
  struct batch batch;
  struct output output;
  mdm_stream *turn; /* whose turn() runs */
  size_t turn_left;
  uint32_t next_id, last_peer_id;
  uint32_t peer_streams; /* alive, opened by the peer */
  uint32_t own_streams;
  uint32_t peer_open_credit, peer_max_streams;
  uint32_t runnable;
  bool started, failed, out_of_memory, closing;
  bool feeding, producing;
  bool wanted, wanted_urgent;
  int error;
  char failure[FAILURE_TEXT];
  uint64_t now_us, last_receive_us;
  size_t growth_granted, unaccepted_held, held;
  int64_t late_credit; /* DATA that may still come for streams that are gone */
  /* flood account */
  int64_t tokens;
  uint64_t tokens_us;
  /* PING */
  bool ping_out;
  uint64_t ping_us, ping_nonce, rtt_us;
  uint64_t rtt_low, rtt_low_before, rtt_half_us;
  uint8_t pongs[PONGS_MAX][FRAME_PING_SIZE];
  uint32_t pong_count;
  /* input rate */
  uint64_t receive_since_us, receive_bytes, receive_last, receive_rate;
  /* drain */
  enum drain_step drain;
  uint64_t drain_us;
  uint16_t goaway_code;
  bool goaway_received;
  uint32_t goaway_last_id; /* the last id that we still take, once the second GOAWAY went out */
  struct mdm_mux_stats stats;
};

/* session.c */
void mux_now(mdm_mux *mux);
void mux_fail(mdm_mux *mux, int error, enum mdm_goaway code, const char *sentence);
void mux_want_output(mdm_mux *mux, bool urgent); /* tells the owner once */
/* Ends the session when a callback ran out of memory meanwhile. */
void mux_settle(mdm_mux *mux);

/* output.c: each appends to the end. A control frame without memory marks the session, see mux_settle.
 * output_room: contiguous, in a new block while a reserve is out; NULL = out of memory. */
uint8_t *output_room(mdm_mux *mux, size_t size);
void output_put(struct output *output, struct block *block, size_t size);
void output_advance(mdm_mux *mux, size_t size);
int output_frame(mdm_mux *mux, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t size);
void output_reset(mdm_mux *mux, uint32_t id, enum mdm_reset code, bool not_delivered);
void output_close_frame(mdm_mux *mux); /* the header of the last DATA frame is final */

/* input.c */
void batch_flush(mdm_mux *mux);

/* message.c */
void message_receive(mdm_mux *mux, const uint8_t *data, size_t size);

/* link.c: PING, PONG, GOAWAY */
void link_receive_ping(mdm_mux *mux, const uint8_t *payload);
void link_receive_pong(mdm_mux *mux, const uint8_t *payload);
void link_receive_goaway(mdm_mux *mux, const uint8_t *payload, size_t size);
void link_put_pongs(mdm_mux *mux);
void link_put_goaway(mdm_mux *mux, uint32_t last_id, uint16_t code, const char *text);
void link_tick(mdm_mux *mux);

/* flood.c: false = the session has failed */
bool flood_charge(mdm_mux *mux, uint32_t frames);
void flood_refund(mdm_mux *mux, uint32_t frames);

/* stream.c */
mdm_stream *stream_new(mdm_mux *mux, uint32_t id, bool local);
void stream_enter(mdm_stream *stream);
void stream_leave(mdm_stream *stream); /* may free it */
/* Unlinks and frees what it holds; optional RESET and reset(); closed() now, or when its callbacks have returned. */
void stream_kill(mdm_stream *stream, enum mdm_reset code, bool not_delivered, bool send, bool tell);
void stream_kill_all(mdm_mux *mux, enum mdm_reset code);
/* Closes it when both halves have ended. */
void stream_settle(mdm_stream *stream);
/* The peer's frames. */
void stream_receive_open(mdm_mux *mux, uint32_t id, const uint8_t *payload, size_t size);
void stream_receive_opened(mdm_stream *stream, uint32_t credit);
void stream_receive_credit(mdm_stream *stream, uint32_t credit);
void stream_receive_fin(mdm_stream *stream);

/* flow.c */
uint32_t flow_initial(const mdm_mux *mux);
void flow_deliver(mdm_stream *stream, const struct mdm_slice *slices, size_t count, size_t size);
void flow_redeliver(mdm_stream *stream);
void flow_throw_away(mdm_stream *stream); /* everything held */
void flow_grant(mdm_stream *stream);      /* WINDOW becomes due at half a window */
void flow_grow(mdm_stream *stream);       /* the peer said BLOCKED */
void flow_rest(mdm_stream *stream);
uint32_t flow_room(const mdm_stream *stream); /* what could be granted now */
void flow_put_windows(mdm_mux *mux);
void flow_tick(mdm_mux *mux);
void flow_relieve(mdm_mux_pool *pool); /* resets the longest stalled until the budget fits */

/* schedule.c */
void schedule_update(mdm_stream *stream); /* after a change of ready, credit, accepted or fin_sent */
void schedule_remove(mdm_stream *stream);
void schedule_run(mdm_mux *mux); /* turns until the high mark */

#endif
