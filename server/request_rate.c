/* request_rate.c: the buckets of request_rate.h, in the order of their last use. */
#include "request_rate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address_count.h"
#include "names.h"
#include "strmap.h"

#define TOKEN 1000u /* thousandths: a rate of n a second is n thousandths a millisecond */
#define QUIET_MS (REQUEST_RATE_BURST * 1000u) /* after so long a bucket is full whatever its rate: it need not be remembered */
#define SWEEP 2u    /* quiet ones dropped at each new one: the table shrinks faster than it grows */

struct bucket {
  struct strmap_node node;
  struct bucket *older, *newer;
  uint64_t tokens, used_ms;
  char key[NET_LABEL_MAX + 2]; /* 'u' and the user, or an address_key() */
};
struct request_rate {
  struct strmap map;
  struct bucket *oldest, *newest;
};

struct request_rate *request_rate_new(void) {
  struct request_rate *table = calloc(1, sizeof *table);
  if (table != NULL && strmap_init(&table->map) != 0) {
    free(table);
    return NULL;
  }
  return table;
}

static void unlink_bucket(struct request_rate *table, struct bucket *bucket) {
  *(bucket->older != NULL ? &bucket->older->newer : &table->oldest) = bucket->newer;
  *(bucket->newer != NULL ? &bucket->newer->older : &table->newest) = bucket->older;
}

static void link_newest(struct request_rate *table, struct bucket *bucket) {
  bucket->older = table->newest;
  bucket->newer = NULL;
  *(table->newest != NULL ? &table->newest->newer : &table->oldest) = bucket;
  table->newest = bucket;
}

static void drop_oldest(struct request_rate *table) {
  struct bucket *bucket = table->oldest;
  unlink_bucket(table, bucket);
  strmap_remove(&table->map, &bucket->node);
  free(bucket);
}

void request_rate_free(struct request_rate *table) {
  if (table == NULL)
    return;
  while (table->oldest != NULL)
    drop_oldest(table);
  strmap_clean(&table->map);
  free(table);
}

size_t request_rate_count(const struct request_rate *table) {
  return table->map.count;
}

static struct bucket *bucket_new(struct request_rate *table, uint64_t now_ms, const char *key, uint32_t per_second) {
  for (unsigned i = 0; i < SWEEP && table->oldest != NULL && now_ms - table->oldest->used_ms >= QUIET_MS; i++)
    drop_oldest(table);
  if (table->map.count >= REQUEST_RATE_ENTRIES_MAX)
    drop_oldest(table);
  struct bucket *bucket = calloc(1, sizeof *bucket);
  if (bucket == NULL)
    return NULL;
  snprintf(bucket->key, sizeof bucket->key, "%s", key);
  bucket->tokens = (uint64_t)per_second * REQUEST_RATE_BURST * TOKEN;
  bucket->used_ms = now_ms;
  strmap_add(&table->map, &bucket->node, bucket->key);
  link_newest(table, bucket);
  return bucket;
}

static bool take(struct request_rate *table, uint64_t now_ms, const char *key, uint32_t per_second) {
  uint64_t full = (uint64_t)per_second * REQUEST_RATE_BURST * TOKEN;
  struct strmap_node *node = strmap_find(&table->map, key);
  struct bucket *bucket = node != NULL ? STRMAP_OWNER(node, struct bucket, node) : bucket_new(table, now_ms, key, per_second);
  if (bucket == NULL)
    return true;
  uint64_t quiet_ms = now_ms - bucket->used_ms < QUIET_MS ? now_ms - bucket->used_ms : QUIET_MS;
  bucket->tokens += quiet_ms * per_second;
  if (bucket->tokens > full)
    bucket->tokens = full;
  bucket->used_ms = now_ms;
  unlink_bucket(table, bucket);
  link_newest(table, bucket);
  if (bucket->tokens < TOKEN)
    return false;
  bucket->tokens -= TOKEN;
  return true;
}

bool request_rate_address(struct request_rate *table, uint64_t now_ms, const struct mdm_address *address, uint32_t per_second) {
  char key[ADDRESS_KEY_SIZE];
  if (per_second == 0)
    return true;
  address_key(key, address);
  return take(table, now_ms, key, per_second);
}

bool request_rate_user(struct request_rate *table, uint64_t now_ms, const char *user, uint32_t per_second) {
  char key[NET_LABEL_MAX + 2];
  if (per_second == 0 || user[0] == '\0')
    return true;
  snprintf(key, sizeof key, "u%s", user);
  return take(table, now_ms, key, per_second);
}
