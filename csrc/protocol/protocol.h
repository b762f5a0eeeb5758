/* protocol.h: the fastlog protocol, without I/O: its frames, sequences and checksums.
 *
 * docs/protocol.md specifies the protocol; this header names its parts. A frame is a header of 8
 * bytes (magic number, type, flags, length) and a payload. All integers are big-endian, all sizes
 * are in bytes. Every length that a peer sends is checked against the bytes that have arrived.
 *
 * Functions that can fail return 0 or a negative code: one of enum fl_protocol_error, or one of
 * enum fl_error of framer/framer.h, of which this folder uses the header alone.
 */
#ifndef FL_PROTOCOL_H
#define FL_PROTOCOL_H

#include "../framer/framer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* cffi: begin */

/* Returns the CRC-32C (Castagnoli; RFC 3720, B.4) of data, continued from crc; pass 0 first. */
uint32_t fl_crc32c(uint32_t crc, const uint8_t *data, size_t len);

enum { FL_HANDSHAKE_MAX = 512 }; /* bytes of the payload of a frame before WELCOME */

/* cffi: end */

enum fl_protocol_error {
    FL_EMAGIC = -6,     /* the bytes do not begin a frame of the fastlog protocol */
    FL_EMALFORMED = -7, /* the fields of a frame contradict each other, or its checksum is wrong */
    FL_ESEQUENCE = -8,  /* records are missing before these */
};

/* Returns the text of a code of enum fl_protocol_error, static; NULL for any other code. */
const char *fl_protocol_strerror(int error);

/* Frame types. */
enum fl_type {
    FL_TYPE_HELLO = 0x01,
    FL_TYPE_CHALLENGE = 0x02,
    FL_TYPE_AUTH = 0x03,
    FL_TYPE_WELCOME = 0x04,
    FL_TYPE_BATCH = 0x10,
    FL_TYPE_GAP = 0x11,
    FL_TYPE_ACK = 0x20,
    FL_TYPE_NOTICE = 0x40,
    FL_TYPE_ERROR = 0x4F,
    FL_TYPE_BYE = 0x50,
};

/* Codes of an ERROR frame. */
enum fl_code {
    FL_CODE_SEQUENCE = 4,
    FL_CODE_MALFORMED = 5,
    FL_CODE_FULL = 6,
    FL_CODE_OUT_OF_TURN = 7,
    FL_CODE_LIMIT = 8,
};

/* What a client has to do after an ERROR frame. */
enum fl_action {
    FL_ACTION_RETRY = 0,
    FL_ACTION_FIX_CONFIG = 1,
};

enum {
    FL_HEADER_BYTES = 8,    /* the header of a frame */
    FL_BATCH_EXTRA = 65536, /* the payload of a frame may exceed the limit of a record by this */
    FL_GAP_BYTES = 33,      /* the payload of a GAP */
    FL_ACK_BYTES = 21,      /* a whole ACK frame */
    FL_TEXT_BYTES = 200,    /* the longest text in an ERROR or a NOTICE */
    FL_ERROR_BYTES = FL_HEADER_BYTES + 11 + FL_TEXT_BYTES, /* the longest ERROR or NOTICE frame */
};

/* ---- Frames of a client: read --------------------------------------------------------------- */

/* The header of a frame. */
typedef struct fl_header {
    uint8_t type; /* enum fl_type, or a number that is none of them */
    uint8_t flags;
    uint32_t len; /* bytes of the payload */
} fl_header;

/* Reads a header. Returns 1 and fills *out, 0 when more bytes are needed, or FL_EMAGIC as soon as
 * one byte of the magic number is wrong. */
int fl_header_read(const uint8_t *data, size_t len, fl_header *out);

/* Lookup tables of fl_crc32(), 8 KiB. */
typedef struct fl_crc32_tables {
    uint32_t of[8][256];
} fl_crc32_tables;

/* Fills the tables; call it once before fl_crc32(). */
void fl_crc32_prepare(fl_crc32_tables *tables);

/* Returns the CRC-32 of data, as zlib's crc32(). */
uint32_t fl_crc32(const fl_crc32_tables *tables, const uint8_t *data, size_t len);

/* The records with the sequences base to base + count - 1. */
typedef struct fl_batch {
    uint64_t base;
    uint32_t count;
    const uint8_t *frames; /* points into the payload: each record after its length, u32 */
    size_t len;            /* bytes of all frames, length fields included */
} fl_batch;

/* Reads the payload of a BATCH, header->len bytes, and checks its checksum and every length in it.
 * Returns 0, FL_EMALFORMED, or FL_ETOOLONG for a record of more than max_record bytes. */
int fl_batch_read(const fl_crc32_tables *tables, const fl_header *header, const uint8_t *payload,
                  uint32_t max_record, fl_batch *out);

/* Removes the first n records of a batch, n <= count. */
void fl_batch_skip(fl_batch *batch, uint32_t n);

/* The records with the sequences first to last, which the client will never send. */
typedef struct fl_gap {
    uint64_t first, last;
    uint8_t reason; /* docs/protocol.md has the numbers */
    uint64_t t0;    /* when the client dropped the first one, microseconds since the epoch */
    uint64_t t1;    /* when it dropped the last one */
} fl_gap;

/* Reads the payload of a GAP. Returns 0 or FL_EMALFORMED. */
int fl_gap_read(const fl_header *header, const uint8_t *payload, fl_gap *out);

/* Writes the payload of a GAP. */
void fl_gap_write(uint8_t to[FL_GAP_BYTES], const fl_gap *gap);

/* Reads the payload of a BYE: the last sequence that the client has sent. Returns 0 or
 * FL_EMALFORMED. */
int fl_bye_read(const fl_header *header, const uint8_t *payload, uint64_t *last);

/* ---- Frames of the server: written ---------------------------------------------------------- */

/* Writes an ACK frame. window: bytes that the client may send beyond `committed`; state: see
 * fl_loop_window(). */
void fl_ack_write(uint8_t to[FL_ACK_BYTES], uint64_t committed, uint32_t window, uint8_t state);

/* Writes an ERROR frame and returns its length. code: enum fl_code; action: enum fl_action; seq:
 * the last accepted sequence; text is cut at FL_TEXT_BYTES. */
size_t fl_error_write(uint8_t to[FL_ERROR_BYTES], int code, int action, uint64_t seq,
                      const char *text);

/* Writes a NOTICE frame and returns its length. retry_ms: milliseconds until the client should
 * connect again; text is cut at FL_TEXT_BYTES. */
size_t fl_notice_write(uint8_t to[FL_ERROR_BYTES], int code, uint32_t retry_ms, const char *text);

/* ---- Sequences of a client ------------------------------------------------------------------ */

/* A block that is in the journal and not durable yet: once the journal is durable up to `offset`,
 * the sequences up to `accepted` are committed. */
typedef struct fl_pending {
    uint64_t offset, accepted;
} fl_pending;

/* The state of one client's sequences. Callers read the fields; only `accepted` is theirs to set,
 * to the last sequence that they have put into a block, after fl_session_reserve(). */
typedef struct fl_session {
    uint64_t accepted;   /* the last sequence that is in a block */
    uint64_t journaled;  /* the last sequence that is in the journal */
    uint64_t committed;  /* the last sequence that is durable; the one to acknowledge */
    fl_pending *pending; /* a ring, in the order of offsets; owned by the session */
    uint32_t pending_first, pending_count, pending_cap;
} fl_session;

/* Begins a session of a client whose sequences up to `committed` are durable. */
void fl_session_begin(fl_session *session, uint64_t committed);

/* Frees what the session owns. */
void fl_session_end(fl_session *session);

/* Writes to *skip how many of the `count` sequences from `first` on were accepted before. Returns
 * 0, or FL_ESEQUENCE if sequences before `first` are missing. */
int fl_session_offer(const fl_session *session, uint64_t first, uint64_t count, uint64_t *skip);

/* Makes room for one more pending block. Call it before `accepted` is set. Returns false if there
 * is no memory. */
bool fl_session_reserve(fl_session *session);

/* Reports that the journal has stored what was accepted, in a block that ends at `offset`. */
void fl_session_journaled(fl_session *session, uint64_t offset);

/* Reports that the journal has rejected what was accepted since the last block. */
void fl_session_discarded(fl_session *session);

/* Reports that the journal is durable up to `offset`. Returns whether `committed` has risen. */
bool fl_session_durable(fl_session *session, uint64_t offset);

#ifdef __cplusplus
}
#endif

#endif
