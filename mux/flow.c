/* flow.c: the receiving half of a stream: bytes delivered, held, offered again; credit granted; windows that grow.
 *
 * Invariant: a grant never lets recv_credit + held + undelivered exceed `window`. Consumption is not counted anywhere:
 * what was received and is not held any more has been consumed. */
#include "session.h"

#include <assert.h>
#include <string.h>

uint32_t flow_initial(const mdm_mux *mux) {
  if (mux->config.window_initial)
    return mux->config.window_initial;
  size_t active = (size_t)mux->own_streams + mux->peer_streams;
  return active < ACTIVE_FEW ? WINDOW_FEW : active < ACTIVE_SOME ? WINDOW_SOME : WINDOW_MANY;
}

static uint32_t outstanding(const mdm_stream *stream) {
  const struct batch *batch = &stream->mux->batch;
  size_t pending = batch->stream == stream ? batch->size : 0;
  return stream->recv_credit + (uint32_t)stream->held.size + (uint32_t)pending;
}

uint32_t flow_room(const mdm_stream *stream) {
  uint32_t used = outstanding(stream);
  return used < stream->window ? stream->window - used : 0;
}

void flow_grant(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  if (stream->dead || stream->fin_received || !stream->accepted || list_linked(&stream->window_link))
    return;
  uint32_t room = flow_room(stream);
  if (room == 0 || room < stream->window / 2)
    return;
  list_append(&mux->windows, &stream->window_link);
  mux_want_output(mux, false);
}

/* The deltas are worked out as late as this, so that one WINDOW a stream is the most that ever waits. */
void flow_put_windows(mdm_mux *mux) {
  while (!list_empty(&mux->windows) && mux->output.chain.size < MARK_MAX) {
    mdm_stream *stream = list_item(mux->windows.next, mdm_stream, window_link);
    uint8_t payload[4];
    uint32_t room = stream->fin_received ? 0 : flow_room(stream);
    list_remove(&stream->window_link);
    if (room == 0)
      continue;
    put_u32(payload, room);
    if (output_frame(mux, FRAME_WINDOW, 0, stream->id, payload, sizeof payload))
      return;
    stream->recv_credit += room;
  }
}

/* ---- growth ---- */
void flow_grow(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  if (stream->dead || stream->fin_received || !stream->accepted || stream->discard)
    return;
  if (stream->held.size >= stream->window / 4 || budget_level(mux->pool->budget) >= BUDGET_NO_GROWTH)
    return;
  uint64_t want = (uint64_t)stream->window * 2;
  uint64_t limit = WINDOW_FREE_GROWTH;
  uint64_t rtt = mdm_mux_rtt_min_us(mux);
  if (rtt >= LONG_PATH_US) {
    uint64_t far = 2 * mux->receive_rate * rtt / 1000000u;
    limit = far > limit ? far : limit;
  }
  if (limit > mux->config.window_max)
    limit = mux->config.window_max;
  if (want > limit)
    want = limit;
  if (want <= stream->window)
    return;
  size_t more = (size_t)want - stream->window;
  if (mux->growth_granted >= mux->config.growth_pool)
    return;
  if (more > mux->config.growth_pool - mux->growth_granted)
    more = mux->config.growth_pool - mux->growth_granted;
  mux->growth_granted += more;
  stream->window += (uint32_t)more;
  flow_grant(stream);
}

void flow_rest(mdm_stream *stream) {
  stream->mux->growth_granted -= stream->window - stream->window_base;
  stream->window = stream->window_base;
}

/* ---- held bytes ---- */
static void uncount_held(mdm_stream *stream, size_t size, size_t blocks) {
  mdm_mux *mux = stream->mux;
  mux->held -= size;
  if (!stream->accepted)
    mux->unaccepted_held -= size;
  budget_remove(mux->pool->budget, blocks * BLOCK_SIZE);
  if (stream->held.size == 0)
    list_remove(&stream->held_link);
}

/* mux->holding is kept in the order of the oldest unconsumed byte: who begins to hold stands last, who consumed a block
 * moves back to where its next one belongs. */
static void keep_order(mdm_stream *stream) {
  struct list *ring = &stream->mux->holding, *after = &stream->held_link;
  while (after->next != ring &&
         list_item(after->next, mdm_stream, held_link)->held.head->stamp_us < stream->held.head->stamp_us)
    after = after->next;
  if (after == &stream->held_link)
    return;
  list_remove(&stream->held_link);
  list_insert(after, &stream->held_link);
}

static void drop_held(mdm_stream *stream, size_t size) {
  size_t blocks = chain_drop(&stream->held, stream->mux->pool, size);
  uncount_held(stream, size, blocks);
  if (blocks > 0 && stream->held.size > 0)
    keep_order(stream);
}

void flow_throw_away(mdm_stream *stream) {
  if (stream->held.head)
    drop_held(stream, stream->held.size);
}

static int hold(mdm_stream *stream, const uint8_t *data, size_t size) {
  mdm_mux *mux = stream->mux;
  while (size > 0) {
    struct block *tail = stream->held.tail;
    if (!tail || tail->end == BLOCK_SIZE) {
      tail = chain_grow(&stream->held, mux->pool);
      if (!tail)
        return MDM_MUX_ENOMEM;
      tail->stamp_us = mux->now_us;
      budget_add(mux->pool->budget, BLOCK_SIZE);
    }
    if (stream->held.size == 0) {
      stream->progress_us = mux->now_us;
      list_append(&mux->holding, &stream->held_link);
    }
    size_t n = size < BLOCK_SIZE - tail->end ? size : BLOCK_SIZE - tail->end;
    memcpy(tail->data + tail->end, data, n);
    tail->end += (uint32_t)n;
    stream->held.size += n;
    mux->held += n;
    if (!stream->accepted)
      mux->unaccepted_held += n;
    data += n;
    size -= n;
  }
  return 0;
}

/* Keeps what follows the first `used` bytes. */
static void hold_rest(mdm_stream *stream, const struct mdm_slice *slices, size_t count, size_t used) {
  mdm_mux *mux = stream->mux;
  for (size_t i = 0; i < count; i++) {
    if (used >= slices[i].size) {
      used -= slices[i].size;
      continue;
    }
    if (hold(stream, slices[i].data + used, slices[i].size - used)) {
      stream_kill(stream, MDM_RESET_INTERNAL, false, true, true);
      return;
    }
    used = 0;
  }
  if (mux->unaccepted_held > UNACCEPTED_MAX && !stream->accepted) {
    stream_kill(stream, MDM_RESET_LIMIT, true, true, true);
    return;
  }
  flow_relieve(mux->pool);
}

static mdm_stream *oldest_of(mdm_mux_pool *pool) {
  mdm_stream *oldest = NULL;
  for (struct list *m = pool->sessions.next; m != &pool->sessions; m = m->next) {
    mdm_mux *mux = list_item(m, mdm_mux, pool_link);
    if (list_empty(&mux->holding))
      continue;
    mdm_stream *first = list_item(mux->holding.next, mdm_stream, held_link);
    if (!oldest || first->held.head->stamp_us < oldest->held.head->stamp_us)
      oldest = first;
  }
  return oldest;
}

void flow_relieve(mdm_mux_pool *pool) {
  while (budget_level(pool->budget) == BUDGET_FULL) {
    mdm_stream *stream = oldest_of(pool);
    if (!stream)
      return; /* held by another thread, which finds out itself */
    stream_kill(stream, MDM_RESET_STALLED, false, true, true);
  }
}

/* ---- delivery ---- */
static size_t offer(mdm_stream *stream, const struct mdm_slice *slices, size_t count, size_t size) {
  if (stream->discard)
    return size;
  stream->delivering = true;
  size_t used = stream->ops->data(stream, slices, count);
  stream->delivering = false;
  assert(used <= size);
  if (stream->discard || used > size)
    used = size;
  return used;
}

void flow_deliver(mdm_stream *stream, const struct mdm_slice *slices, size_t count, size_t size) {
  stream_enter(stream);
  size_t used = stream->held.size > 0 ? 0 : offer(stream, slices, count, size);
  if (!stream->dead && used < size)
    hold_rest(stream, slices, count, used);
  stream_leave(stream);
}

void flow_redeliver(mdm_stream *stream) {
  struct mdm_slice slices[BATCH_SLICES];
  if (stream->dead || stream->delivering)
    return;
  stream_enter(stream);
  while (!stream->dead && stream->held.size > 0) {
    size_t size = 0, count = chain_slices(&stream->held, slices, BATCH_SLICES);
    for (size_t i = 0; i < count; i++)
      size += slices[i].size;
    size_t used = offer(stream, slices, count, size);
    if (stream->dead || used == 0)
      break;
    stream->progress_us = stream->mux->now_us;
    drop_held(stream, used);
    if (used < size)
      break;
  }
  flow_grant(stream);
  stream_receive_fin(stream);
  stream_leave(stream);
}

void mdm_stream_drain(mdm_stream *stream) {
  flow_redeliver(stream);
}

void mdm_stream_discard(mdm_stream *stream) {
  if (stream->dead || stream->discard)
    return;
  stream->discard = true;
  if (stream->delivering)
    return; /* the caller of data() sees it */
  stream_enter(stream);
  flow_throw_away(stream);
  flow_grant(stream);
  stream_receive_fin(stream);
  stream_leave(stream);
}

void mdm_stream_rest(mdm_stream *stream) {
  if (!stream->dead)
    flow_rest(stream);
}

static mdm_stream *find_stalled(mdm_mux *mux) {
  for (struct list *s = mux->holding.next; s != &mux->holding; s = s->next) {
    mdm_stream *stream = list_item(s, mdm_stream, held_link);
    if (stream->stall_limit_s && mux->now_us - stream->progress_us >= (uint64_t)stream->stall_limit_s * 1000000u)
      return stream;
  }
  return NULL;
}

void flow_tick(mdm_mux *mux) {
  mdm_stream *stream;
  for (unsigned i = 0; i < STALLED_PER_TICK && (stream = find_stalled(mux)); i++)
    stream_kill(stream, MDM_RESET_STALLED, false, true, true);
  flow_relieve(mux->pool); /* another thread may have passed the cap since */
}
