/* rejection.c: why connections are rejected, told and counted. */
#include "loop_internal.h"

#include <string.h>

const char *fl_reason_text(int reason)
{
    switch (reason) {
    case FL_TOO_LONG: return "frame over the limit";
    case FL_TRUNCATED: return "truncated";
    case FL_HTTP: return "http";
    case FL_TLS: return "tls";
    case FL_SYSLOG: return "syslog";
    case FL_FLUENTD: return "fluentd";
    case FL_LUMBERJACK: return "lumberjack";
    case FL_UNKNOWN: return "unknown protocol";
    case FL_STOCK: return "stock client not admitted here";
    case FL_SILENT: return "no hello in time";
    case FL_OUT_OF_TURN: return "frame out of turn";
    case FL_MALFORMED: return "malformed fastlog frame";
    case FL_SEQUENCE: return "records missing in the sequence";
    case FL_CONNECTIONS: return "too many connections";
    case FL_HOST: return "too many connections from this host";
    case FL_UNUSED: return "never sent a byte; closed to make room";
    case FL_DESCRIPTORS: return "no file descriptor left";
    case FL_MEMORY: return "no memory for half-received frames";
    default: return "unknown reason";
    }
}

static bool starts_with(const uint8_t *head, size_t len, const char *text)
{
    size_t n = strlen(text);
    return len >= n && memcmp(head, text, n) == 0;
}

/* The protocol that a connection speaks instead of ours, by its first bytes, of which the first is
 * not 0: an FL_ reason. Sources: RFC 9110 for the methods, RFC 8446 5.1, RFC 5424 6, the Fluentd
 * forward protocol (a msgpack array of 2 to 4), and Logstash's lumberjack frames ("2W", "1W" …). */
static int foreign_protocol(const uint8_t *head, size_t len)
{
    static const char *const methods[] = {"GET ", "POST", "PUT ", "HEAD", "DELE",
                                          "OPTI", "PATC", "CONN", "TRAC", "PRI "};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (starts_with(head, len, methods[i]))
            return FL_HTTP;
    if (len < 2)
        return FL_UNKNOWN;
    if (head[0] == 0x16 && head[1] == 0x03)
        return FL_TLS;
    if (head[0] == '<' && head[1] >= '0' && head[1] <= '9')
        return FL_SYSLOG;
    if (head[0] >= 0x92 && head[0] <= 0x94)
        return FL_FLUENTD;
    if ((head[0] == '1' || head[0] == '2') && memchr("WDJCA", head[1], 5))
        return FL_LUMBERJACK;
    return FL_UNKNOWN;
}

/* Counts a rejection and queues its report. head: the first bytes of the frame, with its length. */
void reject(fl_loop *loop, int reason, const char *peer, const uint8_t *head, size_t len)
{
    loop->stats.rejected[reason]++;
    if (loop->rejection_count == REJECTIONS) {
        loop->stats.unreported++;
        return;
    }
    fl_rejection *r =
        &loop->rejections[(loop->rejection_first + loop->rejection_count++) % REJECTIONS];
    memset(r, 0, sizeof *r);
    r->reason = reason;
    strncpy(r->peer, peer, FL_PEER_SIZE - 1);
    if (!len)
        return;
    r->head_len = (uint32_t)(len < FL_HEAD_SIZE ? len : FL_HEAD_SIZE);
    memcpy(r->head, head, r->head_len);
    fl_head fastlog;
    if (fl_head_read(head, len, &fastlog) == 1)
        r->length = fastlog.len;
    else if (len >= FL_FRAME_HEADER)
        r->length = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 |
                    (uint32_t)head[3];
}

/* The same for a frame of a connection. One that has never sent a whole frame, and whose first byte
 * cannot begin one, was never meant for us: it is counted as the protocol that it looks like. */
void reject_frame(fl_loop *loop, int reason, const conn *c, const uint8_t *head, size_t len)
{
    if (len && head[0] != 0 && !(c->flags & HAS_SPOKEN))
        reason = foreign_protocol(head, len);
    reject(loop, reason, c->peer, head, len);
}

int fl_loop_rejection(fl_loop *loop, fl_rejection *out)
{
    if (!loop->rejection_count)
        return 0;
    *out = loop->rejections[loop->rejection_first];
    loop->rejection_first = (loop->rejection_first + 1) % REJECTIONS;
    loop->rejection_count--;
    return 1;
}
