/* recv.c: the floor of what receiving costs. Reads all connections, splits frames, counts them.
 *
 *     recv OUTPUT
 *
 * Prints its port. When the last connection has ended it writes the count to OUTPUT, as digits.
 * Connections are read to EAGAIN as the loop of fastlog reads them, by framer.c.
 */
#include "fastlog.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024, EVENTS = 256, FRAMES = 1024, BACKLOG = 4096 };

typedef struct source {
    int fd;
    fl_framer *framer;
} source;

typedef struct counter {
    int epoll_fd, listener, output;
    unsigned long long frames;
    unsigned open;
    uint8_t chunk[CHUNK];
} counter;

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return -1;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(counter *k)
{
    int fd;
    while ((fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        source *s = malloc(sizeof *s);
        struct epoll_event want = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = s};
        if (!s || !(s->framer = fl_framer_new(FL_FRAME_LIMIT)))
            abort();
        s->fd = fd;
        k->open++;
        if (epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &want) < 0)
            abort();
    }
}

static void end(counter *k, source *s)
{
    fl_framer_free(s->framer);
    close(s->fd);
    free(s);
    if (--k->open == 0) {
        char digits[32];
        int len = snprintf(digits, sizeof digits, "%llu", k->frames);
        if (pwrite(k->output, digits, (size_t)len, 0) != len)
            abort();
    }
}

static void read_all(counter *k, source *s)
{
    fl_frame frames[FRAMES];
    ssize_t got;
    while ((got = recv(s->fd, k->chunk, CHUNK, 0)) > 0) {
        int count = fl_framer_feed(s->framer, k->chunk, (size_t)got);
        if (count == 0)
            while ((count = fl_framer_next(s->framer, frames, FRAMES)) > 0)
                k->frames += (unsigned)count;
        if (count < 0) {
            end(k, s);
            return;
        }
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        end(k, s);
}

int main(int argc, char **argv)
{
    static counter k;
    struct epoll_event events[EVENTS];
    struct epoll_event want = {.events = EPOLLIN, .data.ptr = NULL};

    if (argc != 2)
        return 2;
    k.output = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    k.epoll_fd = epoll_create1(0);
    k.listener = k.output < 0 || k.epoll_fd < 0 ? -1 : listen_somewhere();
    if (k.listener < 0 || epoll_ctl(k.epoll_fd, EPOLL_CTL_ADD, k.listener, &want) < 0) {
        perror("recv");
        return 1;
    }
    for (;;) {
        int count = epoll_wait(k.epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr)
                read_all(&k, events[i].data.ptr);
            else
                accept_all(&k);
    }
}
