/* notify.h: tells the service manager how far we are (sd_notify(3)): a datagram to $NOTIFY_SOCKET. Without one nothing happens. */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* "READY=1", "STOPPING=1", ... 0, or negative errno. */
int notify_send(const char *state);
/* RELOADING=1 with the time that systemd wants beside it. */
int notify_reloading(void);

#endif
