/* read.c: detects the protocol of a new connection, and reads a connection by its protocol. */
#include "loop_internal.h"

#include <errno.h>
#include <sys/socket.h>

enum { FASTLOG_FIRST_BYTE = 0xFA }; /* of the magic number; a stock frame begins with 0 */

/* Decides by the first byte, which stays in the socket. */
static enum read_result detect_protocol(fl_loop *loop, uint32_t slot)
{
    conn *c = &loop->conns[slot];
    uint8_t head[FL_HEAD_SIZE];
    ssize_t n = recv(c->fd, head, sizeof head, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return errno == EINTR ? READ_UNFINISHED : READ_EMPTY;
    if (n > 0 && head[0] == FASTLOG_FIRST_BYTE && client_begin(loop, slot)) {
        conn_set_protocol(loop, slot, PROTOCOL_FASTLOG);
        return READ_UNFINISHED;
    }
    /* An unknown protocol counts as stock until its first frame is rejected. */
    conn_set_protocol(loop, slot, PROTOCOL_STOCK);
    if (n > 0 && !(head[0] == 0 && c->listen_flags & FL_LISTEN_NO_STOCK))
        return READ_UNFINISHED;
    if (n > 0)
        reject(loop, FL_REASON_STOCK, c->peer, head, (size_t)n);
    conn_close(loop, slot);
    return READ_CLOSED;
}

enum read_result conn_read(fl_loop *loop, uint32_t slot)
{
    const conn *c = &loop->conns[slot];
    if (c->protocol == PROTOCOL_UNDECIDED) {
        enum read_result result = detect_protocol(loop, slot);
        if (c->protocol == PROTOCOL_UNDECIDED || result == READ_CLOSED)
            return result;
    }
    return c->protocol == PROTOCOL_FASTLOG ? client_read(loop, slot) : stock_read(loop, slot);
}
