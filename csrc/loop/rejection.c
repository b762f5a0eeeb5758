/* rejection.c: rejections: their texts, their counters, and the queue of reports. */
#include "loop_internal.h"

#include "../bytes.h"

#include <string.h>

const char *fl_reason_text(int reason)
{
    switch (reason) {
    case FL_REASON_TOO_LONG: return "frame over the limit";
    case FL_REASON_TRUNCATED: return "truncated";
    case FL_REASON_HTTP: return "http";
    case FL_REASON_TLS: return "tls";
    case FL_REASON_SYSLOG: return "syslog";
    case FL_REASON_FLUENTD: return "fluentd";
    case FL_REASON_LUMBERJACK: return "lumberjack";
    case FL_REASON_UNKNOWN: return "unknown protocol";
    case FL_REASON_STOCK: return "stock client not admitted here";
    case FL_REASON_HANDSHAKE: return "no hello in time";
    case FL_REASON_OUT_OF_TURN: return "frame out of turn";
    case FL_REASON_MALFORMED: return "malformed fastlog frame";
    case FL_REASON_SEQUENCE: return "records missing in the sequence";
    case FL_REASON_CONNECTIONS: return "too many connections";
    case FL_REASON_HOST: return "too many connections from this host";
    case FL_REASON_SILENT: return "never sent a byte; closed to make room";
    case FL_REASON_DESCRIPTORS: return "no file descriptor left";
    case FL_REASON_MEMORY: return "no memory for partial frames";
    default: return "unknown reason";
    }
}

static bool starts_with(const uint8_t *head, size_t len, const char *text)
{
    size_t n = strlen(text);
    return len >= n && memcmp(head, text, n) == 0;
}

/* Recognises another protocol by its first bytes, of which the first is not 0. Returns an
 * enum fl_reason. Sources: RFC 9110 for the methods, RFC 8446 5.1, RFC 5424 6, the Fluentd forward
 * protocol (a msgpack array of 2 to 4), and Logstash's lumberjack frames ("2W", "1W" …). */
static int other_protocol(const uint8_t *head, size_t len)
{
    static const char *const methods[] = {"GET ", "POST", "PUT ", "HEAD", "DELE",
                                          "OPTI", "PATC", "CONN", "TRAC", "PRI "};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (starts_with(head, len, methods[i]))
            return FL_REASON_HTTP;
    if (len < 2)
        return FL_REASON_UNKNOWN;
    if (head[0] == 0x16 && head[1] == 0x03)
        return FL_REASON_TLS;
    if (head[0] == '<' && head[1] >= '0' && head[1] <= '9')
        return FL_REASON_SYSLOG;
    if (head[0] >= 0x92 && head[0] <= 0x94)
        return FL_REASON_FLUENTD;
    if ((head[0] == '1' || head[0] == '2') && memchr("WDJCA", head[1], 5))
        return FL_REASON_LUMBERJACK;
    return FL_REASON_UNKNOWN;
}

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
    fl_header header;
    if (fl_header_read(head, len, &header) == 1)
        r->length = header.len;
    else if (len >= FL_FRAME_HEADER)
        r->length = read_u32(head);
}

void reject_frame(fl_loop *loop, int reason, const conn *c, const uint8_t *head, size_t len)
{
    if (len && head[0] != 0 && !(c->flags & HAS_SENT_FRAME))
        reason = other_protocol(head, len);
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
