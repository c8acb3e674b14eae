/* auth_reply.c: owns the text of an answer while it is parsed. */
#include "auth_reply.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool reply_append(struct auth_reply *reply, const char *data, size_t size) {
  if (size == 0) {
    return true;
  }
  if (size > AUTH_REPLY_BYTES - reply->size) {
    return false;
  }
  if (reply->size + size > reply->capacity) {
    size_t capacity = reply->capacity == 0 ? 1024 : reply->capacity;
    while (capacity < reply->size + size) {
      capacity *= 2;
    }
    char *text = realloc(reply->text, capacity);
    if (text == NULL) {
      return false;
    }
    reply->text = text;
    reply->capacity = capacity;
  }
  memcpy(reply->text + reply->size, data, size);
  reply->size += size;
  return true;
}

static int on_name(llhttp_t *parser, const char *data, size_t size) {
  struct auth_reply *reply = parser->data;
  size_t last = reply->fields_count;
  if (last == 0 || reply->spans[last - 1].value != 0) { /* a new field */
    if (last == AUTH_REPLY_FIELDS) {
      return -1;
    }
    reply->fields_count++;
    reply->spans[last].name = reply->size;
    reply->spans[last].name_size = 0;
    reply->spans[last].value = reply->spans[last].value_size = 0;
    last++;
  }
  reply->spans[last - 1].name_size += size;
  return reply_append(reply, data, size) ? 0 : -1;
}

static int on_value(llhttp_t *parser, const char *data, size_t size) {
  struct auth_reply *reply = parser->data;
  size_t last = reply->fields_count;
  if (last == 0 || reply->spans[last - 1].name_size == 0) { /* llhttp lets an empty name pass */
    return -1;
  }
  if (reply->spans[last - 1].value == 0) {
    reply->spans[last - 1].value = reply->size; /* never 0: the name stands before it */
  }
  reply->spans[last - 1].value_size += size;
  return reply_append(reply, data, size) ? 0 : -1;
}

static int on_value_complete(llhttp_t *parser) {
  struct auth_reply *reply = parser->data;
  size_t last = reply->fields_count;
  if (last == 0 || reply->spans[last - 1].name_size == 0) {
    return -1;
  }
  if (reply->spans[last - 1].value == 0) {
    reply->spans[last - 1].value = reply->size; /* an empty value */
  }
  return 0;
}

static int on_head(llhttp_t *parser) {
  struct auth_reply *reply = parser->data;
  reply->status = parser->status_code;
  reply->interim = reply->status < 200;
  reply->body_at = reply->size;
  return reply->status == 101 ? -1 : 0;
}

static int on_body(llhttp_t *parser, const char *data, size_t size) {
  return reply_append(parser->data, data, size) ? 0 : -1;
}

static int on_complete(llhttp_t *parser) {
  struct auth_reply *reply = parser->data;
  if (reply->interim) {
    reply->size = reply->fields_count = 0;
    return 0;
  }
  reply->keep = llhttp_should_keep_alive(parser) != 0;
  reply->complete = true;
  return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void auth_reply_init(struct auth_reply *reply) {
  memset(reply, 0, sizeof *reply);
  llhttp_init(&reply->parser, HTTP_RESPONSE, &settings);
  reply->parser.data = reply;
}

void auth_reply_clean(struct auth_reply *reply) {
  if (reply->text != NULL) {
    sodium_memzero(reply->text, reply->capacity);
  }
  free(reply->text);
  reply->text = NULL;
}

static int reply_finish(struct auth_reply *reply) {
  if (!reply->complete) {
    return 0;
  }
  for (size_t i = 0; i < reply->fields_count; i++) {
    reply->fields[i].name = (struct mdm_text){reply->text + reply->spans[i].name, reply->spans[i].name_size};
    reply->fields[i].value = (struct mdm_text){reply->text + reply->spans[i].value, reply->spans[i].value_size};
  }
  reply->body = (struct mdm_text){reply->text == NULL ? "" : reply->text + reply->body_at, reply->size - reply->body_at};
  return 1;
}

int auth_reply_feed(struct auth_reply *reply, const char *data, size_t size) {
  reply->began = reply->began || size > 0;
  llhttp_errno_t error = llhttp_execute(&reply->parser, data, size);
  if (error == HPE_PAUSED && reply->complete) {
    const char *end = llhttp_get_error_pos(&reply->parser);
    reply->keep = reply->keep && end == data + size; /* more than was asked for: the connection is not to be trusted */
    return reply_finish(reply);
  }
  return error == HPE_OK ? 0 : -1;
}

int auth_reply_end(struct auth_reply *reply) {
  llhttp_errno_t error = llhttp_finish(&reply->parser);
  reply->keep = false;
  return (error == HPE_OK || error == HPE_PAUSED) && reply->complete ? reply_finish(reply) : -1;
}

const struct mdm_text *auth_reply_find(const struct auth_reply *reply, const char *name) {
  for (size_t i = 0; i < reply->fields_count; i++) {
    if (reply->fields[i].name.size == strlen(name) && strncasecmp(reply->fields[i].name.data, name, strlen(name)) == 0) {
      return &reply->fields[i].value;
    }
  }
  return NULL;
}
