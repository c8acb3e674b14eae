/* platform_linux_network.c: tells when links, addresses or routes changed, by rtnetlink.
 *
 * An address that is merely refreshed (router advertisements do so every few minutes) looks like a new one here, so a
 * "real" change is a hint: check the link now, do not drop it. */
#include "platform.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int platform_network_watch(int *out) {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) {
    return -errno;
  }
  const struct sockaddr_nl groups = {
      .nl_family = AF_NETLINK,
      .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
  };
  if (bind(fd, (const struct sockaddr *)&groups, sizeof groups)) {
    const int error = -errno;
    close(fd);
    return error;
  }
  *out = fd;
  return 0;
}

static bool link_changed(const struct ifinfomsg *link) {
  return (link->ifi_flags & IFF_LOOPBACK) == 0 && (link->ifi_change & (IFF_UP | IFF_RUNNING)) != 0;
}

static bool address_changed(const struct ifaddrmsg *address) {
  return address->ifa_scope == RT_SCOPE_UNIVERSE;
}

static bool route_changed(const struct rtmsg *route) {
  return (route->rtm_flags & RTM_F_CLONED) == 0 && route->rtm_type == RTN_UNICAST && route->rtm_dst_len == 0;
}

static bool message_is_change(const struct nlmsghdr *message) {
  const void *body = NLMSG_DATA(message);
  switch (message->nlmsg_type) {
  case RTM_NEWLINK:
  case RTM_DELLINK:
    return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)) && link_changed(body);
  case RTM_NEWADDR:
  case RTM_DELADDR:
    return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg)) && address_changed(body);
  case RTM_NEWROUTE:
  case RTM_DELROUTE:
    return message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)) && route_changed(body);
  default:
    return false;
  }
}

bool platform_network_drain(int fd) {
  _Alignas(struct nlmsghdr) char buffer[8192];
  bool changed = false;
  for (;;) {
    struct sockaddr_nl from = {0};
    socklen_t from_size = sizeof from;
    const ssize_t size = recvfrom(fd, buffer, sizeof buffer, MSG_TRUNC, (struct sockaddr *)&from, &from_size);
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0 && errno == ENOBUFS) {
      changed = true; /* the kernel dropped some: something did change */
      continue;
    }
    if (size <= 0) {
      return changed;
    }
    if (from.nl_pid != 0) {
      continue; /* not from the kernel */
    }
    if ((size_t)size > sizeof buffer) {
      changed = true;
      continue;
    }
    size_t left = (size_t)size;
    for (struct nlmsghdr *message = (struct nlmsghdr *)buffer;
         left >= sizeof *message && message->nlmsg_len >= sizeof *message && message->nlmsg_len <= left;) {
      changed = message_is_change(message) || changed;
      const size_t step = NLMSG_ALIGN((size_t)message->nlmsg_len);
      if (step >= left) {
        break;
      }
      left -= step;
      message = (struct nlmsghdr *)((char *)message + step);
    }
  }
}
