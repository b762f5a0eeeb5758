/* accept.c: listeners: accepts connections, and makes room when there is none. */
#include "loop_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DISARM_MS = 100 };

static void write_peer_name(const struct sockaddr_storage *address, char peer[FL_PEER_SIZE])
{
    char text[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        snprintf(peer, FL_PEER_SIZE, "%s:%u", text, (unsigned)ntohs(v4->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        unsigned port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof text);
            snprintf(peer, FL_PEER_SIZE, "%s:%u", text, port);
        } else {
            inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
            snprintf(peer, FL_PEER_SIZE, "[%s]:%u", text, port);
        }
    } else {
        snprintf(peer, FL_PEER_SIZE, "unix");
    }
}

static int listener_control(fl_loop *loop, int operation, uint32_t index, uint32_t events)
{
    struct epoll_event event = {.events = events}; /* level-triggered: reported until accepted */
    event.data.u64 = index;                        /* generation 0: see poll.c */
    if (epoll_ctl(loop->epoll_fd, operation, loop->listeners[index], &event) < 0)
        return system_error(loop, errno);
    return 0;
}

int fl_loop_listen(fl_loop *loop, int fd, uint32_t flags)
{
    if (loop->listener_count == MAX_LISTENERS || loop->draining)
        return FL_EINVAL;
    if (flags & ~(uint32_t)(FL_LISTEN_NO_STOCK | FL_LISTEN_AUTH))
        return FL_EINVAL;
    int fd_flags = fcntl(fd, F_GETFL);
    if (fd_flags < 0 || fcntl(fd, F_SETFL, fd_flags | O_NONBLOCK) < 0)
        return system_error(loop, errno);
    loop->listeners[loop->listener_count] = fd;
    loop->listen_flags[loop->listener_count] = (uint8_t)flags;
    int result = listener_control(loop, EPOLL_CTL_ADD, loop->listener_count, EPOLLIN);
    if (result == 0)
        loop->listener_count++;
    return result;
}

static void open_spare(fl_loop *loop)
{
    if (loop->spare_fd < 0)
        loop->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int listeners_arm(fl_loop *loop)
{
    loop->rearm_at = 0;
    open_spare(loop); /* another thread may have taken its number while it was closed */
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        int result = listener_control(loop, EPOLL_CTL_MOD, i, EPOLLIN);
        if (result < 0)
            return result;
    }
    return 0;
}

int listeners_disarm(fl_loop *loop)
{
    if (loop->draining)
        return 0; /* they are not in the epoll set */
    loop->rearm_at = loop->now + DISARM_MS;
    for (uint32_t i = 0; i < loop->listener_count; i++) {
        int result = listener_control(loop, EPOLL_CTL_MOD, i, 0);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Returns whether a socket has nothing to read, not even its end. */
static bool has_no_input(int fd)
{
    uint8_t byte;
    ssize_t n;
    do
        n = recv(fd, &byte, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* Closes the oldest connection that has never sent a byte, to make room for another. A client that
 * connects when it has a record to send is never closed: a connection whose first bytes wait in its
 * socket is kept. Returns whether one was closed. */
static bool make_room(fl_loop *loop)
{
    while (loop->silent.head != NO_SLOT) {
        uint32_t slot = loop->silent.head;
        const conn *c = &loop->conns[slot];
        if (loop->now - c->partial_since < loop->options.handshake_ms)
            return false;
        if (has_no_input(c->fd)) {
            reject(loop, FL_REASON_SILENT, c->peer, NULL, 0);
            conn_close(loop, slot);
            return true;
        }
        conn_set_silent(loop, slot, false);
        conn_set_ready(loop, slot, true);
    }
    return false;
}

/* Accepts and closes the newest connection when no descriptor is left, by closing the spare one
 * meanwhile. Otherwise the client would wait in the backlog and not notice. */
static void shed(fl_loop *loop, int listener)
{
    if (loop->spare_fd < 0)
        return;
    close(loop->spare_fd);
    loop->spare_fd = -1;
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_CLOEXEC);
    if (fd >= 0) {
        char peer[FL_PEER_SIZE];
        write_peer_name(&address, peer);
        close(fd);
        reject(loop, FL_REASON_DESCRIPTORS, peer, NULL, 0);
    }
    open_spare(loop);
}

static void set_option(int fd, int option, uint32_t value)
{
    int number = (int)value;
    if (value) /* a kernel that rejects the value probes by its own settings, only later */
        (void)setsockopt(fd, IPPROTO_TCP, option, &number, sizeof number);
}

void conn_set_keepalive(const fl_loop *loop, int fd)
{
    const fl_loop_options *o = &loop->options;
    int on = 1, domain = AF_UNIX;
    socklen_t len = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 || domain == AF_UNIX)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    set_option(fd, TCP_KEEPIDLE, o->probe_idle_s);
    set_option(fd, TCP_KEEPINTVL, o->probe_every_s);
    set_option(fd, TCP_KEEPCNT, o->probe_count);
}

static void register_connection(fl_loop *loop, int fd, const char *peer, uint8_t listen_flags)
{
    uint32_t slot;

    if (hosts_count(&loop->hosts, peer) >= loop->options.max_per_host) {
        close(fd);
        reject(loop, FL_REASON_HOST, peer, NULL, 0);
        return;
    }
    if (loop->stats.connections >= loop->options.max_connections && !make_room(loop)) {
        close(fd);
        reject(loop, FL_REASON_CONNECTIONS, peer, NULL, 0);
        return;
    }
    conn_set_keepalive(loop, fd);
    if (conn_open(loop, fd, peer, &slot) < 0) {
        close(fd);
        reject(loop, FL_REASON_DESCRIPTORS, peer, NULL, 0);
        return;
    }
    loop->conns[slot].listen_flags = listen_flags;
    loop->stats.accepted++;
}

int fl_loop_accept(fl_loop *loop, int fd, const char *peer, uint32_t flags)
{
    if (flags & ~(uint32_t)(FL_LISTEN_NO_STOCK | FL_LISTEN_AUTH | FL_LISTEN_IDENTITY))
        return FL_EINVAL;
    int fd_flags = fcntl(fd, F_GETFL);
    if (fd_flags < 0 || fcntl(fd, F_SETFL, fd_flags | O_NONBLOCK) < 0)
        return system_error(loop, errno);
    register_connection(loop, fd, peer, (uint8_t)flags);
    return 0;
}

int accept_some(fl_loop *loop, uint32_t index, uint32_t limit)
{
    while (limit--) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(loop->listeners[index], (struct sockaddr *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            char peer[FL_PEER_SIZE];
            write_peer_name(&address, peer);
            register_connection(loop, fd, peer, loop->listen_flags[index]);
            continue;
        }
        int error = errno; /* make_room() changes it */
        if (error == EAGAIN || error == EWOULDBLOCK)
            return 0;
        if ((error == EMFILE || error == ENFILE) && make_room(loop))
            continue;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
            shed(loop, loop->listeners[index]);
            return listeners_disarm(loop);
        }
        /* Any other error is that of a connection that failed in the backlog (accept(2)). */
    }
    return 0;
}
