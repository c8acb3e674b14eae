/* schedule.c: whose turn it is. Deficit round robin over 16 KiB, new and sparse streams first.
 *
 * A stream that becomes runnable while in no ring enters `fresh` with a full deficit. Having used it, it moves to the
 * end of `queue`. A stream found dry leaves `fresh` for one round of `queue` (or it would be new again at once and
 * always ahead), and leaves `queue` for good once its deficit is paid. Per turn one frame; a frame may overdraw the
 * deficit, which then is paid back in the next rounds, so that no frame is cut small to fit. */
#include "session.h"

#include <assert.h>
#include <string.h>

static bool can_run(const mdm_stream *stream) {
  return stream->ready && stream->accepted && !stream->fin_sent && stream->send_credit > 0 && !stream->dead;
}

void schedule_update(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  bool runnable = can_run(stream);
  if (runnable == stream->runnable)
    return;
  stream->runnable = runnable;
  if (!runnable) {
    mux->runnable--;
    return; /* its ring is left when its place comes up */
  }
  mux->runnable++;
  if (!list_linked(&stream->turn_link)) {
    stream->deficit = QUANTUM;
    list_append(&mux->fresh, &stream->turn_link);
  }
  mux_want_output(mux, false);
}

void schedule_remove(mdm_stream *stream) {
  if (stream->runnable) {
    stream->runnable = false;
    stream->mux->runnable--;
  }
  list_remove(&stream->turn_link);
}

static void requeue(mdm_stream *stream) {
  list_remove(&stream->turn_link);
  list_append(&stream->mux->queue, &stream->turn_link);
}

/* The stream whose turn it is, at the head of its ring. */
static mdm_stream *next(mdm_mux *mux) {
  while (mux->runnable > 0) {
    bool fresh = !list_empty(&mux->fresh);
    struct list *ring = fresh ? &mux->fresh : &mux->queue;
    assert(!list_empty(ring));
    mdm_stream *stream = list_item(ring->next, mdm_stream, turn_link);
    if (stream->deficit <= 0) {
      stream->deficit += QUANTUM;
      requeue(stream);
    } else if (!stream->runnable) {
      if (fresh)
        requeue(stream);
      else
        list_remove(&stream->turn_link);
    } else {
      return stream;
    }
  }
  return NULL;
}

/* Returns whether the turn put anything out. */
static bool run_turn(mdm_mux *mux, mdm_stream *stream) {
  uint64_t before = mux->output.total;
  bool more = false;

  assert(stream->ops->turn);
  stream_enter(stream);
  stream->ready = false;
  mux->turn = stream;
  mux->turn_left = MDM_FRAME_PAYLOAD_MAX;
  more = stream->ops->turn(stream);
  mux->turn = NULL;
  mux->output.reserved = 0;
  uint64_t put = mux->output.total - before;
  if (!stream->dead) {
    stream->deficit -= (int32_t)(put < 4u * BLOCK_SIZE ? put : 4u * BLOCK_SIZE);
    if (more && !stream->fin_sent)
      stream->ready = true;
    if (stream->ready && stream->send_credit == 0 && mux->output.open_stream == stream)
      mux->output.open_header[3] |= FRAME_FLAG_BLOCKED;
    schedule_update(stream);
    if (put == 0 && list_linked(&stream->turn_link))
      requeue(stream);
  }
  output_close_frame(mux);
  stream_leave(stream);
  return put > 0;
}

void schedule_run(mdm_mux *mux) {
  uint32_t idle = 0; /* turns in a row that put nothing out: stop once everybody had one */
  while (!mux->failed && mux->output.chain.size < mux->output.mark && idle <= mux->runnable) {
    mdm_stream *stream = next(mux);
    if (!stream)
      break;
    idle = run_turn(mux, stream) ? 0 : idle + 1;
  }
}

void mdm_stream_ready(mdm_stream *stream) {
  if (stream->dead || stream->fin_sent)
    return;
  stream->ready = true;
  schedule_update(stream);
}

size_t mdm_stream_allowance(const mdm_stream *stream) {
  const mdm_mux *mux = stream->mux;
  if (mux->turn != stream || stream->dead || stream->fin_sent)
    return 0;
  return mux->turn_left < stream->send_credit ? mux->turn_left : stream->send_credit;
}

uint8_t *mdm_stream_reserve(mdm_stream *stream, size_t *capacity) {
  mdm_mux *mux = stream->mux;
  struct output *output = &mux->output;
  size_t allowance = mdm_stream_allowance(stream);
  *capacity = 0;
  output->reserved = 0;
  if (allowance == 0)
    return NULL;
  if (output->open_stream == stream) {
    /* The frame at the end is ours and unsent: go on in it. */
    size_t left = BLOCK_SIZE - output->chain.tail->end;
    if (left > 0) {
      output->reserve_header = output->open_header;
      output->reserve_block = output->chain.tail;
      *capacity = output->reserved = (uint32_t)(left < allowance ? left : allowance);
      return output->chain.tail->data + output->chain.tail->end;
    }
  }
  /* A rest of a block too small for a sensible frame is left unused. */
  size_t least = allowance < FRAME_SENSIBLE ? allowance : FRAME_SENSIBLE;
  uint8_t *p = output_room(mux, MDM_FRAME_HEADER + least);
  if (!p)
    return NULL;
  size_t room = BLOCK_SIZE - output->chain.tail->end - MDM_FRAME_HEADER;
  output->reserve_header = NULL;
  output->reserve_block = output->chain.tail;
  *capacity = output->reserved = (uint32_t)(room < allowance ? room : allowance);
  return p + MDM_FRAME_HEADER;
}

void mdm_stream_commit(mdm_stream *stream, size_t size) {
  mdm_mux *mux = stream->mux;
  struct output *output = &mux->output;
  assert(size <= output->reserved);
  output->reserved = 0;
  if (size == 0 || stream->dead || mux->turn != stream)
    return;
  struct block *block = output->reserve_block;
  uint8_t *header = output->reserve_header;
  size_t put = size;
  if (header) {
    put_u16(header, (uint16_t)(get_u16(header) + size));
  } else {
    header = block->data + block->end;
    frame_pack(header, size, FRAME_DATA, 0, stream->id);
    put += MDM_FRAME_HEADER;
    mux->stats.frames_out++;
    flood_refund(mux, 2); /* it earns the peer two WINDOWs at most */
  }
  output_put(output, block, put);
  /* A control frame made since the reserve stands behind it in a block of its own: this one cannot be extended. */
  output->open_header = block == output->chain.tail ? header : NULL;
  output->open_stream = block == output->chain.tail ? stream : NULL;
  stream->send_credit -= (uint32_t)size;
  mux->turn_left -= size;
}

size_t mdm_stream_write(mdm_stream *stream, const struct mdm_slice *slices, size_t count) {
  size_t taken = 0, room = 0, used = 0;
  uint8_t *p = NULL;
  for (size_t i = 0; i < count; i++) {
    for (size_t at = 0; at < slices[i].size;) {
      if (used == room) {
        if (p)
          mdm_stream_commit(stream, used);
        used = 0;
        p = mdm_stream_reserve(stream, &room);
        if (!p)
          return taken;
      }
      size_t n = slices[i].size - at < room - used ? slices[i].size - at : room - used;
      memcpy(p + used, slices[i].data + at, n);
      used += n;
      at += n;
      taken += n;
    }
  }
  if (p)
    mdm_stream_commit(stream, used);
  return taken;
}

void mdm_stream_finish(mdm_stream *stream) {
  mdm_mux *mux = stream->mux;
  if (stream->dead || stream->fin_sent)
    return;
  if (!stream->accepted && !stream->local)
    mdm_stream_accept(stream);
  if (stream->dead)
    return;
  stream->fin_sent = true;
  stream->ready = false;
  if (mux->turn == stream)
    mux->output.reserved = 0;
  schedule_update(stream);
  if (mux->output.open_stream == stream)
    mux->output.open_header[3] |= FRAME_FLAG_FIN;
  else
    output_frame(mux, FRAME_DATA, FRAME_FLAG_FIN, stream->id, NULL, 0);
  stream_enter(stream);
  mux_want_output(mux, false);
  stream_settle(stream);
  stream_leave(stream);
}
