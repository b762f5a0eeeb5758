/* load.c: sends numbered records over many connections, faster than any server takes them.
 *
 *     load -p PORT -f POOL [-c CONNECTIONS] [-n RECORDS] [-s BYTES] [-r RECORDS_A_SECOND]
 *
 * -s 0 sends each record by itself; else a send has as many whole records as it takes to reach so
 * many bytes. -r paces all connections together, one send a record. Without it every connection is
 * kept full.
 *
 * It says "ready" when all are connected, waits for a line on standard input, and begins. In the
 * end it stops sending and waits until the server has closed each connection, so that none is reset
 * under what is still on its way. Then it prints its account as JSON. Times are seconds of the
 * system's clock. Exit status 1: a connection failed; the account says how many.
 */
#include "pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    SENDS_A_VISIT = 16, /* of a record each, before the next connection has its turn */
    PATIENCE_MS = 60 * 1000,
    CONNECT_TRIES = 50,
};

typedef struct connection {
    int fd;
    uint8_t *out; /* what a send left over */
    size_t out_at, out_len;
} connection;

typedef struct load {
    const char *pool_path;
    uint32_t port, connections, records, send_bytes, rate;
    pool *frames;
    connection *table;
    int epoll_fd;
    uint32_t next; /* number of the next record */
    uint32_t open, failed;
    double begin, end, closed; /* the first byte, the last byte, the last connection */
} load;

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double cpu_used(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* ---- connections ---------------------------------------------------------------------------- */

static int open_connection(uint32_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int tries = 0; tries < CONNECT_TRIES; tries++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            return fd;
        close(fd);
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    }
    return -1;
}

static bool connect_all(load *l)
{
    size_t room = l->send_bytes + POOL_FRAME_MAX;
    l->table = calloc(l->connections, sizeof *l->table);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!l->table || l->epoll_fd < 0)
        return false;
    for (uint32_t i = 0; i < l->connections; i++, l->open++) {
        connection *c = &l->table[i];
        c->fd = open_connection(l->port);
        /* Touched as it is used: an idle connection costs the generator no memory. */
        c->out = l->records ? malloc(room) : NULL;
        if (c->fd < 0 || (l->records && !c->out))
            return false;
        /* Non-blocking from here on; connecting was not, so that a full backlog is waited for. */
        struct epoll_event want = {.events = l->rate ? 0 : EPOLLOUT, .data.u32 = i};
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &want) < 0)
            return false;
    }
    return true;
}

/* The connection is of no more use: what it had not sent is lost. */
static void fail(load *l, connection *c)
{
    close(c->fd); /* which takes it out of the epoll set */
    c->fd = -1;
    l->open--;
    l->failed++;
}

/* The last record of this connection was sent: says so to the server, and listens for its end. */
static void finish(load *l, connection *c)
{
    struct epoll_event want = {.events = EPOLLIN, .data.u32 = (uint32_t)(c - l->table)};
    if (shutdown(c->fd, SHUT_WR) < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, c->fd, &want) < 0)
        fail(l, c);
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Puts the next records, at least `bytes` of them and at least one, in the connection's buffer. */
static void fill(load *l, connection *c, size_t bytes)
{
    c->out_at = c->out_len = 0;
    do
        c->out_len += pool_write(l->frames, l->next++, c->out + c->out_len);
    while (c->out_len < bytes && l->next < l->records);
}

/* Sends what is in the buffer: 1 when it is empty, 0 when the socket is full, -1 for an error. */
static int flush(connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t sent =
            send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        c->out_at += (size_t)sent;
    }
    return 1;
}

/* The socket has room. */
static void serve(load *l, connection *c)
{
    int visits = l->send_bytes ? 1 : SENDS_A_VISIT;
    int result = flush(c);
    while (result == 1 && l->next < l->records && visits-- > 0) {
        fill(l, c, l->send_bytes);
        result = flush(c);
        if (l->next == l->records)
            l->end = now();
    }
    if (result < 0)
        fail(l, c);
    else if (result == 1 && l->next == l->records) {
        l->end = now();
        finish(l, c);
    }
}

/* The server has closed, or sent something, which is read over. */
static void drain(load *l, connection *c)
{
    char junk[4096];
    ssize_t got = recv(c->fd, junk, sizeof junk, MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (got < 0) {
        fail(l, c);
        return;
    }
    close(c->fd);
    c->fd = -1;
    l->open--;
}

/* Goes on until no connection is left. */
static void run(load *l)
{
    struct epoll_event events[EVENTS];
    while (l->open) {
        int count = epoll_wait(l->epoll_fd, events, EVENTS, PATIENCE_MS);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) { /* a server that neither reads nor closes */
            l->failed += l->open;
            return;
        }
        for (int i = 0; i < count; i++) {
            connection *c = &l->table[events[i].data.u32];
            if (events[i].events & EPOLLOUT)
                serve(l, c);
            else
                drain(l, c);
        }
    }
}

static void sleep_until(double when)
{
    double left = when - now();
    if (left > 0)
        nanosleep(&(struct timespec){.tv_sec = (time_t)left,
                                     .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)},
                  NULL);
}

/* One record each time one is due, on each connection in turn. */
static void run_paced(load *l)
{
    while (l->next < l->records && l->open) {
        connection *c = &l->table[l->next % l->connections];
        sleep_until(l->begin + (double)l->next / l->rate);
        if (c->fd < 0) {
            l->next++; /* its connection has failed, and is counted */
            continue;
        }
        fill(l, c, 0);
        int result = flush(c);
        while (result == 0) { /* the server is behind: later than due, but never dropped */
            struct pollfd full = {.fd = c->fd, .events = POLLOUT};
            result = poll(&full, 1, PATIENCE_MS) == 0 ? -1 : flush(c);
        }
        if (result < 0)
            fail(l, c);
    }
    l->end = now();
    for (uint32_t i = 0; i < l->connections; i++)
        if (l->table[i].fd >= 0)
            finish(l, &l->table[i]);
    run(l);
}

/* ---- the command ---------------------------------------------------------------------------- */

static bool read_options(load *l, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "p:f:c:n:s:r:")) != -1) {
        uint32_t number = optarg && option != 'f' ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (option) {
        case 'p': l->port = number; break;
        case 'f': l->pool_path = optarg; break;
        case 'c': l->connections = number; break;
        case 'n': l->records = number; break;
        case 's': l->send_bytes = number; break;
        case 'r': l->rate = number; break;
        default: return false;
        }
    }
    return l->pool_path && l->port && l->connections;
}

static void wait_for_line(void)
{
    puts("ready");
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF;)
        c = getchar();
}

int main(int argc, char **argv)
{
    load l = {.connections = 1, .epoll_fd = -1};

    if (!read_options(&l, argc, argv)) {
        fprintf(stderr, "usage: load -p PORT -f POOL [-c N] [-n RECORDS] [-s BYTES] [-r RATE]\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK,
          1L); /* ns; the default of 50 µs is half of what lies between records */
    if (!(l.frames = pool_open(l.pool_path)))
        return 2;
    if (!connect_all(&l)) {
        fprintf(stderr, "only %" PRIu32 " connections: %s\n", l.open, strerror(errno));
        return 2;
    }
    wait_for_line();
    l.begin = l.end = now();
    double used = cpu_used();
    if (l.rate)
        run_paced(&l);
    else
        run(&l);
    l.closed = now();
    printf("{\"sent\": %" PRIu32 ", \"failed\": %" PRIu32 ", \"begin\": %.6f, \"end\": %.6f, "
           "\"closed\": %.6f, \"cpu\": %.6f}\n",
           l.next, l.failed, l.begin, l.end, l.closed, cpu_used() - used);
    return l.failed ? 1 : 0;
}
