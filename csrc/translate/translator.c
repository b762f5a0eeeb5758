/* translator.c: the runs of a block go in, their rows come out. Pure; translate.h has the contract.
 *
 * Includes and calls go one way. From the top: translator.c, record.c; the unpickler (unpickle.c)
 * and the files that make a row (row.h lists them); objects.c and generic.c; literals.c; and what
 * all of them use: values.h, pool.c, buffer.c, text.c, json.c, dtoa.c.
 */
#include "line.h"
#include "opcodes.h"
#include "record.h"
#include "unpickle.h"

#include <stdlib.h>

enum { NODES_MAX = 1 << 20 };

struct fl_translator {
    fl_unpickler unpickler;
    fl_row *row;
    fl_rows rows;
    fl_buffer columns; /* the pickle of rows.columns */
};

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

fl_translator *fl_translator_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                                 const fl_meanings *meanings, enum fl_form form)
{
    if (bounds->nodes > NODES_MAX || form > FL_COPY)
        return NULL;
    fl_translator *translator = calloc(1, sizeof *translator);
    if (!translator)
        return NULL;
    translator->row = fl_row_new(columns, n, bounds, meanings, form);
    if (translator->row && fl_unpickler_init(&translator->unpickler) &&
        (form != FL_COLUMNS || fl_column_lists_init(&translator->rows.columns))) {
        fl_line_divide(translator->row);
        return translator;
    }
    fl_translator_free(translator);
    return NULL;
}

void fl_translator_free(fl_translator *translator)
{
    if (!translator)
        return;
    fl_unpickler_free(&translator->unpickler);
    fl_row_free(translator->row);
    free(translator->rows.pickled.data);
    free(translator->rows.lines.data);
    free(translator->rows.copy.data);
    fl_column_lists_free(&translator->rows.columns);
    free(translator->columns.data);
    free(translator);
}

void fl_translator_set_node(fl_translator *translator, const uint8_t node[FL_NODE])
{
    memcpy(translator->row->node, node, FL_NODE);
}

int fl_translator_begin(fl_translator *translator, double received, uint64_t offset)
{
    static const uint8_t BEGIN[] = {FL_OP_PROTO, 4, FL_OP_EMPTY_LIST, FL_OP_MARK};
    fl_rows *rows = &translator->rows;
    rows->pickled.len = rows->lines.len = rows->copy.len = 0;
    rows->pickled.failed = rows->lines.failed = rows->copy.failed = false;
    fl_buffer_add(&rows->pickled, BEGIN, sizeof BEGIN);
    fl_row_begin(translator->row, received, offset);
    if (translator->row->form == FL_COLUMNS)
        fl_column_lists_begin(&rows->columns);
    return rows->pickled.failed ? FL_ENOMEM : 0;
}

static int translate_frame(fl_translator *translator, const uint8_t *frame, uint32_t len,
                           const fl_value *host, uint32_t idx)
{
    fl_value record;
    if (len && frame[0] == '{') /* a JSON object */
        return FL_FALLBACK;
    int verdict = fl_unpickler_read(&translator->unpickler, frame, len, &record);
    if (verdict)
        return verdict;
    return fl_record_add(translator->row, &translator->unpickler.pool, &record, len, host, idx,
                         &translator->rows);
}

/* Adds the line of a frame that is not plain. */
static void add_empty_line(fl_translator *translator)
{
    if (translator->row->form == FL_LINES)
        fl_buffer_add(&translator->rows.lines, "\n", 1);
}

/* A run of a block. */
typedef struct block_run {
    uint8_t kind, peer_len;
    uint32_t frames;
    const uint8_t *peer, *body;
    size_t len; /* of the body: the frames with their lengths */
} block_run;

static int translate_run(fl_translator *translator, const block_run *run, const fl_value *host,
                         uint32_t idx, uint8_t *verdicts)
{
    const uint8_t *frames = run->body;
    size_t len = run->len;
    int not_plain = 0;

    if (translator->row->form == FL_LINES && fl_line_begin_run(translator->row, host) < 0)
        return FL_ENOMEM;
    for (uint32_t i = 0; i < run->frames; i++) {
        if (len < FL_FRAME_HEADER)
            return FL_EINVAL;
        uint32_t size = read_u32(frames);
        if (len - FL_FRAME_HEADER < size)
            return FL_EINVAL;
        int verdict = translate_frame(translator, frames + FL_FRAME_HEADER, size, host, idx + i);
        if (verdict < 0)
            return verdict;
        if (verdict)
            add_empty_line(translator);
        verdicts[i] = (uint8_t)verdict;
        not_plain += verdict != FL_PLAIN;
        frames += FL_FRAME_HEADER + size;
        len -= FL_FRAME_HEADER + size;
    }
    return len ? FL_EINVAL : not_plain;
}

int fl_translator_run(fl_translator *translator, const uint8_t *frames, size_t len, uint32_t count,
                      uint32_t idx, const char *host, size_t host_len, uint8_t *verdicts)
{
    block_run run = {.frames = count, .body = frames, .len = len};
    translator->row->certificate = (fl_str){0};
    fl_value sender = {
        .kind = FL_K_TEXT, .len = (uint32_t)host_len, .at.text = (const uint8_t *)host};
    if (fl_text_check(sender.at.text, host_len) == FL_TEXT_INVALID || count > INT32_MAX)
        return FL_EINVAL;
    return translate_run(translator, &run, &sender, idx, verdicts);
}

/* Reads the run at the beginning of these bytes. Returns the bytes it has, 0 if it does not fit. */
static size_t read_run(const uint8_t *at, size_t len, block_run *out)
{
    if (len < FL_RUN_HEADER)
        return 0;
    *out = (block_run){.kind = at[0], .peer_len = at[1], .frames = read_u32(at + 8)};
    out->len = read_u32(at + 12);
    len -= FL_RUN_HEADER;
    if (len < out->peer_len || len - out->peer_len < out->len)
        return 0;
    size_t used = FL_RUN_HEADER + out->peer_len + out->len;
    out->peer = at + FL_RUN_HEADER;
    out->body = out->peer + out->peer_len;
    if (out->kind == FL_RUN_BATCH) {
        if (out->len < FL_RUN_STAMP)
            return 0;
        out->body += FL_RUN_STAMP;
        out->len -= FL_RUN_STAMP;
    }
    return used;
}

/* Returns where the identity of a peer's certificate begins, with the space before it; the end of
 * the peer if there is none. */
static const uint8_t *identity_at(const block_run *run)
{
    const uint8_t *space = memchr(run->peer, ' ', run->peer_len);
    return space ? space : run->peer + run->peer_len;
}

/* Returns the identity of the peer's certificate, if it has one. */
static fl_str certificate_of(const block_run *run)
{
    const uint8_t *at = identity_at(run), *end = run->peer + run->peer_len;
    return end - at > 1 ? (fl_str){at + 1, (uint32_t)(end - at - 1)} : (fl_str){0};
}

/* Returns the peer without its port: `127.0.0.1` for `127.0.0.1:5`, `::1` for `[::1]:5`. */
static fl_value host_of(const block_run *run)
{
    const uint8_t *peer = run->peer, *end = identity_at(run);
    if (peer < end && *peer == '[') {
        peer++;
        const uint8_t *bracket = memchr(peer, ']', (size_t)(end - peer));
        end = bracket ? bracket : end;
    } else {
        const uint8_t *colon = memchr(peer, ':', (size_t)(end - peer));
        if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            end = colon;
    }
    return (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)(end - peer), .at.text = peer};
}

/* Makes all frames of a run FL_FALLBACK. */
static int skip_run(fl_translator *translator, const block_run *run, uint8_t *verdicts)
{
    memset(verdicts, FL_FALLBACK, run->frames);
    for (uint32_t i = 0; i < run->frames; i++)
        add_empty_line(translator);
    return (int)run->frames;
}

int fl_translator_block(fl_translator *translator, const uint8_t *runs, size_t len, uint32_t frames,
                        uint8_t *verdicts)
{
    uint32_t idx = 0;
    int not_plain = 0;

    if (frames > INT32_MAX)
        return FL_EINVAL;
    while (len) {
        block_run run;
        size_t used = read_run(runs, len, &run);
        if (!used || run.frames > frames - idx)
            return FL_EINVAL;
        fl_value host = host_of(&run);
        translator->row->certificate = certificate_of(&run);
        bool has_records = run.kind == FL_RUN_STOCK || run.kind == FL_RUN_BATCH;
        int result = has_records && fl_text_check(run.peer, run.peer_len) != FL_TEXT_INVALID
                         ? translate_run(translator, &run, &host, idx, verdicts + idx)
                         : skip_run(translator, &run, verdicts + idx);
        if (result < 0)
            return result;
        not_plain += result;
        idx += run.frames;
        runs += used;
        len -= used;
    }
    return idx == frames ? not_plain : FL_EINVAL;
}

int fl_translator_end(fl_translator *translator, fl_translation *out)
{
    static const uint8_t END[] = {FL_OP_APPENDS, FL_OP_STOP};
    fl_rows *rows = &translator->rows;
    fl_buffer *columns = &translator->columns;
    fl_buffer_add(&rows->pickled, END, sizeof END);
    if (translator->row->form == FL_COLUMNS)
        fl_column_lists_end(&rows->columns, &translator->row->columns, columns);
    *out = (fl_translation){rows->pickled.data,      rows->pickled.len,      rows->lines.data,
                            rows->lines.len,         columns->data,          columns->len,
                            rows->columns.text.data, rows->columns.text.len, rows->copy.data,
                            rows->copy.len};
    return rows->pickled.failed || rows->lines.failed || rows->copy.failed || columns->failed
               ? FL_ENOMEM
               : 0;
}
