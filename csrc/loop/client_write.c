/* reply.c: what goes back to a fastlog client.
 *
 * Acknowledgements are cumulative, so one that could not be sent is not kept: a flag says that one
 * is due, and it is made when the socket has room. A client that never reads costs its socket's
 * buffer and CLIENT_OUT bytes, however much it sends.
 */
#include "loop_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Has it flushed in the next turn in which its socket has room. */
void client_flush_later(fl_loop *loop, client *k)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.u64 = k->name;
    if (!k->wants_out)
        k->wants_out =
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->conns[k->slot].fd, &event) == 0;
}

/* Sends what its socket takes of what waits. Returns whether nothing is left. */
static bool send_waiting(fl_loop *loop, client *k)
{
    conn *c = &loop->conns[k->slot];
    while (k->out_at < k->out_len) {
        ssize_t n = send(c->fd, k->out + k->out_at, (size_t)(k->out_len - k->out_at), MSG_NOSIGNAL);
        if (n >= 0) {
            k->out_at = (uint16_t)(k->out_at + n);
            k->told = loop->now;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            client_flush_later(loop, k);
            return false;
        } else if (errno != EINTR) { /* the connection has ended, which reading it will show */
            c->flags |= IS_ENDING;
            conn_set_ready(loop, k->slot, true);
            return false;
        }
    }
    k->out_at = k->out_len = 0;
    return true;
}

/* Sends what waits, and an acknowledgement if one is due. */
void client_flush(fl_loop *loop, client *k)
{
    if (k->slot == NO_SLOT || !send_waiting(loop, k))
        return;
    if (k->ack_due) {
        k->ack_due = false;
        loop->stats.acks++;
        fl_ack_write(k->out, k->session.committed, loop->window, loop->journal_state);
        k->out_len = FL_ACK_BYTES;
        if (!send_waiting(loop, k))
            return;
    }
    if (k->state == PARTING && !k->has_shut) {
        k->has_shut = true;
        (void)shutdown(loop->conns[k->slot].fd, SHUT_WR); /* it fails where the peer has gone */
        conn_set_ready(loop, k->slot, true);
    }
}

/* Sends a frame behind what waits already. One that finds no room is left out: its client has not
 * read for long, and learns by the end of the connection. */
void client_tell(fl_loop *loop, client *k, const uint8_t *frame, size_t len)
{
    if (len <= (size_t)(CLIENT_OUT - k->out_len)) {
        memcpy(k->out + k->out_len, frame, len);
        k->out_len = (uint16_t)(k->out_len + len);
    }
    client_flush(loop, k);
}
