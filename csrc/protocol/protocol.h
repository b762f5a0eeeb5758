/* protocol.h: the fastlog protocol, without I/O: frames, sequences, checksums. */
#ifndef FL_PROTOCOL_H
#define FL_PROTOCOL_H

#include "../runs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* CRC-32C (Castagnoli; RFC 3720, B.4) of data, continuing from crc; the first call passes 0. */
uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len);

/* cffi: end */

/* ---- The fastlog protocol: docs/protocol.md has its frames and rules ----------------------------
 */

enum fl_type {
    FL_T_HELLO = 0x01,
    FL_T_CHALLENGE = 0x02,
    FL_T_AUTH = 0x03,
    FL_T_WELCOME = 0x04,
    FL_T_BATCH = 0x10,
    FL_T_GAP = 0x11,
    FL_T_ACK = 0x20,
    FL_T_NOTICE = 0x40,
    FL_T_ERROR = 0x4F,
    FL_T_BYE = 0x50,
};

/* Codes of an ERROR, and what the client shall do. */
enum {
    FL_C_SEQUENCE = 4,
    FL_C_MALFORMED = 5,
    FL_C_FULL = 6,
    FL_C_TURN = 7,
    FL_C_LIMIT = 8,
    FL_RETRY = 0,
    FL_FIX_CONFIG = 1,
};

enum {
    FL_HEAD_BYTES = 8,      /* before every frame */
    FL_GREETING_MAX = 512,  /* payload of a frame before WELCOME */
    FL_BATCH_EXTRA = 65536, /* what a batch may have beyond one record at the limit */
    FL_GAP_BYTES = 33,
    FL_ACK_BYTES = 21,
    FL_TEXT_BYTES = 200,
    FL_ERROR_BYTES = FL_HEAD_BYTES + 11 + FL_TEXT_BYTES,
};

typedef struct fl_head {
    uint8_t type, flags;
    uint32_t len; /* of the payload */
} fl_head;

/* Reads a header. 1: it is in out; 0: it takes more bytes; FL_EMAGIC, as early as that shows. */
int fl_head_read(const uint8_t *data, size_t len, fl_head *out);

typedef struct fl_crc32_tables {
    uint32_t of[8][256];
} fl_crc32_tables;

void fl_crc32_prepare(fl_crc32_tables *tables);

/* zlib's crc32() of data. */
uint32_t fl_crc32(const fl_crc32_tables *tables, const uint8_t *data, size_t len);

/* Records `base` to `base + count - 1`, as frames behind their lengths. */
typedef struct fl_batch {
    uint64_t base;
    uint32_t count;
    const uint8_t *frames; /* in the payload */
    size_t len;
} fl_batch;

/* Reads the payload of a BATCH, head->len bytes, and checks every length in it. Returns 0,
 * FL_EMALFORMED, or FL_ETOOLONG for a record over max_record. */
int fl_batch_read(const fl_crc32_tables *tables, const fl_head *head, const uint8_t *payload,
                  uint32_t max_record, fl_batch *out);

/* Leaves out the first n records, n <= count. */
void fl_batch_skip(fl_batch *batch, uint32_t n);

/* Records first to last will never come. */
typedef struct fl_gap {
    uint64_t first, last;
    uint8_t reason;
    uint64_t t0, t1; /* when the first and the last were given up, microseconds since the epoch */
} fl_gap;

/* 0 or FL_EMALFORMED. */
int fl_gap_read(const fl_head *head, const uint8_t *payload, fl_gap *out);
void fl_gap_write(uint8_t to[FL_GAP_BYTES], const fl_gap *gap);

/* The last sequence of a client that leaves: 0 or FL_EMALFORMED. */
int fl_bye_read(const fl_head *head, const uint8_t *payload, uint64_t *last);

/* Whole frames; those with a text (cut at FL_TEXT_BYTES) return their length. */
void fl_ack_write(uint8_t to[FL_ACK_BYTES], uint64_t committed, uint32_t window, uint8_t state);
size_t fl_error_write(uint8_t to[FL_ERROR_BYTES], int code, int action, uint64_t seq,
                      const char *text);
size_t fl_notice_write(uint8_t to[FL_ERROR_BYTES], int code, uint32_t retry_ms, const char *text);

typedef struct fl_mark {
    uint64_t offset, accepted;
} fl_mark;

/* What was taken from one client. Its fields are for reading. */
typedef struct fl_session {
    uint64_t accepted;  /* the last sequence that is in a block */
    uint64_t journaled; /* the last that the journal has taken */
    uint64_t committed; /* the last that is durable: what is acknowledged */
    fl_mark *marks; /* a ring: what becomes committed when the journal is durable up to offset */
    uint32_t mark_first, mark_count, mark_cap;
} fl_session;

void fl_session_begin(fl_session *session, uint64_t committed);
void fl_session_end(fl_session *session);

/* How many of these `count` sequences, from `first`, were taken before. 0 or FL_ESEQUENCE. */
int fl_session_offer(const fl_session *session, uint64_t first, uint64_t count, uint64_t *skip);

/* Makes room for one more mark; to be called before `accepted` is moved. False: no memory. */
bool fl_session_reserve(fl_session *session);

/* The journal has taken what was accepted, in a block that ends at this offset of it. */
void fl_session_journaled(fl_session *session, uint64_t offset);

/* The journal has rejected what was accepted since the last block. */
void fl_session_discarded(fl_session *session);

/* The journal is durable up to this offset. True: there is something to acknowledge. */
bool fl_session_durable(fl_session *session, uint64_t offset);

#endif
