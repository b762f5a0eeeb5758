/* client_write.c: sends frames to a fastlog client.
 *
 * Acknowledgements are cumulative, so one that cannot be sent is not kept. A flag says that one is
 * due; it is written when the socket has room. A client that never reads costs its socket's buffer
 * and CLIENT_OUT bytes, however much it sends.
 */
#include "loop_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

void client_flush_later(fl_loop *loop, client *k)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.u64 = k->name;
    if (!k->awaits_writable)
        k->awaits_writable =
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->conns[k->slot].fd, &event) == 0;
}

/* Sends as many of the waiting bytes as the socket takes. Returns whether all are sent. */
static bool send_waiting(fl_loop *loop, client *k)
{
    conn *c = &loop->conns[k->slot];
    while (k->out_at < k->out_len) {
        ssize_t n = send(c->fd, k->out + k->out_at, (size_t)(k->out_len - k->out_at), MSG_NOSIGNAL);
        if (n >= 0) {
            k->out_at = (uint16_t)(k->out_at + n);
            k->last_sent = loop->now;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            client_flush_later(loop, k);
            return false;
        } else if (errno != EINTR) { /* the connection has ended; a read will return that */
            c->flags |= IS_ENDING;
            conn_set_ready(loop, k->slot, true);
            return false;
        }
    }
    k->out_at = k->out_len = 0;
    return true;
}

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
    if (k->state == CLIENT_CLOSING && !k->is_shut_down) {
        k->is_shut_down = true;
        (void)shutdown(loop->conns[k->slot].fd, SHUT_WR); /* fails if the peer has disconnected */
        conn_set_ready(loop, k->slot, true);
    }
}

void client_send(fl_loop *loop, client *k, const uint8_t *frame, size_t len)
{
    if (len <= (size_t)(CLIENT_OUT - k->out_len)) {
        memcpy(k->out + k->out_len, frame, len);
        k->out_len = (uint16_t)(k->out_len + len);
    }
    client_flush(loop, k);
}
