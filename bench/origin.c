/* origin.c: the service behind everything that bench.py measures. One thread, epoll, keep-alive; answers from memory.
 *
 *   GET /N      answers N zero bytes (N <= 2^40)
 *   PUT /...    reads the body (Content-Length or chunked is not needed here: Content-Length only) and answers its size
 * It trusts its clients: it is a yardstick, not a server. Usage: bench-origin PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define CHUNK (256 * 1024)

struct client {
  int fd;
  size_t used;            /* bytes of the next head in `head` */
  uint64_t body;          /* of the request, still to come */
  uint64_t body_total;
  bool put;
  char answer[160];       /* head of the answer */
  size_t answer_size, answer_sent;
  uint64_t zeros;         /* body of the answer, still to go */
  bool writing;
  char head[HEAD_MAX];
};

static char zeros[CHUNK], sink[CHUNK];

static void client_watch(int epoll, struct client *client, bool write) {
  if (client->writing != write) {
    client->writing = write;
    struct epoll_event event = {.events = write ? EPOLLOUT : EPOLLIN, .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event);
  }
}

/* Sends what is due. 1 = all gone, 0 = later, -1 = broken. */
static int client_send(struct client *client) {
  while (client->answer_sent < client->answer_size || client->zeros) {
    struct iovec parts[2];
    int count = 0;
    if (client->answer_sent < client->answer_size) {
      parts[count++] = (struct iovec){client->answer + client->answer_sent, client->answer_size - client->answer_sent};
    }
    if (client->zeros) {
      parts[count++] = (struct iovec){zeros, client->zeros < CHUNK ? client->zeros : CHUNK};
    }
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      return errno == EAGAIN ? 0 : -1;
    }
    size_t head = client->answer_size - client->answer_sent;
    head = (size_t)sent < head ? (size_t)sent : head;
    client->answer_sent += head;
    client->zeros -= (uint64_t)sent - head;
  }
  return 1;
}

static void client_answer(struct client *client, uint64_t size, const char *text) {
  client->answer_size = (size_t)snprintf(client->answer, sizeof client->answer,
                                         "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %llu\r\n\r\n%s",
                                         (unsigned long long)(text ? strlen(text) : size), text ? text : "");
  client->answer_sent = 0;
  client->zeros = text ? 0 : size;
}

static void client_answer_put(struct client *client) {
  char text[32];
  snprintf(text, sizeof text, "%llu\n", (unsigned long long)client->body_total);
  client_answer(client, 0, text);
}

/* Takes one head out of the buffer if it is whole. 1 = request ready, 0 = more bytes needed, -1 = not for us. */
static int client_parse(struct client *client) {
  char *end = memmem(client->head, client->used, "\r\n\r\n", 4);
  if (!end) {
    return client->used == HEAD_MAX ? -1 : 0;
  }
  size_t size = (size_t)(end + 4 - client->head);
  client->put = !memcmp(client->head, "PUT ", 4);
  client->body = 0;
  if (client->put) {
    end[2] = '\0';
    char *length = strcasestr(client->head, "\r\nContent-Length:");
    client->body = length ? strtoull(length + 17, NULL, 10) : 0;
    if (strcasestr(client->head, "\r\nExpect:") && send(client->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) != 25) {
      return -1;
    }
    client->body_total = client->body;
  } else {
    const char *slash = memchr(client->head, '/', size);
    client_answer(client, slash ? strtoull(slash + 1, NULL, 10) : 0, NULL);
  }
  client->used -= size;
  memmove(client->head, client->head + size, client->used);
  if (client->put) {
    size_t early = client->used < client->body ? client->used : (size_t)client->body;
    client->body -= early;
    client->used -= early;
    memmove(client->head, client->head + early, client->used);
  }
  return 1;
}

/* Goes on until it must wait. -1 = close. */
static int client_step(int epoll, struct client *client) {
  for (;;) {
    int sent = client_send(client);
    if (sent <= 0) {
      client_watch(epoll, client, true);
      return sent;
    }
    client_watch(epoll, client, false);
    if (client->put) {
      while (client->body) {
        ssize_t size = recv(client->fd, sink, client->body < CHUNK ? (size_t)client->body : CHUNK, 0);
        if (size <= 0) {
          return size < 0 && errno == EAGAIN ? 0 : -1;
        }
        client->body -= (uint64_t)size;
      }
      client->put = false;
      client_answer_put(client);
      continue;
    }
    int parsed = client->used ? client_parse(client) : 0;
    if (parsed < 0) {
      return -1;
    }
    if (parsed == 0) {
      ssize_t size = recv(client->fd, client->head + client->used, HEAD_MAX - client->used, 0);
      if (size <= 0) {
        return size < 0 && errno == EAGAIN ? 0 : -1;
      }
      client->used += (size_t)size;
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s PORT\n", argv[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
    perror("bench-origin: bind");
    return 1;
  }
  int epoll = epoll_create1(0);
  struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < count; i++) {
      struct client *client = events[i].data.ptr;
      if (!client) {
        int fd;
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          client = calloc(1, sizeof *client);
          if (!client) {
            close(fd);
            break;
          }
          client->fd = fd;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
          epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
      } else if (client_step(epoll, client) < 0) {
        close(client->fd);
        free(client);
      }
    }
  }
}
