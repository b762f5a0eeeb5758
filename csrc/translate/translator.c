/* translator.c: the runs of a block in, their rows out. Pure: see translate.h for the
 * contract, values.h for the parts. */
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 1 << 20 };

struct fl_translator {
    enum fl_form form;
    fl_reader reader;
    fl_row *row;
    fl_bytes rows, lines;
};

static const char *const REASONS[FL_VERDICTS] = {
    [FL_PLAIN] = "plain",
    [FL_FALLBACK] = "foreign",
    [FL_EXTRA] = "its extra attributes are a tree",
    [FL_TREE] = "a tree",
    [FL_NO_STOP] = "malformed pickle: no STOP",
    [FL_CUT] = "malformed pickle: truncated",
    [FL_UNDERFLOW] = "malformed pickle: stack underflow",
    [FL_MEMO_INDEX] = "malformed pickle: memo index out of bounds",
    [FL_MEMO_UNSET] = "malformed pickle: memo slot not set",
    [FL_NOT_UTF8] = "malformed pickle: text is not UTF-8",
    [FL_NESTED_FRAME] = "malformed pickle: nested frame",
    [FL_FRAME_LENGTH] = "malformed pickle: frame length",
    [FL_PROTOCOL] = "malformed pickle: unknown protocol",
    [FL_MARKS] = "malformed pickle: nested too deep",
    [FL_TRAILING] = "malformed pickle: bytes behind STOP",
    [FL_OPEN_MARK] = "malformed pickle: open mark",
    [FL_NOT_ONE] = "malformed pickle: not one value",
    [FL_NUMBER] = "malformed pickle: not a number",
    [FL_NEGATIVE] = "malformed pickle: negative length",
    [FL_ODD_PAIRS] = "malformed pickle: key without a value",
    [FL_NO_LIST] = "malformed pickle: APPEND to what is no list",
    [FL_NO_DICT] = "malformed pickle: SETITEM in what is no dict",
    [FL_NO_SET] = "malformed pickle: ADDITEMS to what is no set",
    [FL_NO_OBJECT] = "malformed pickle: BUILD of what is no object",
    [FL_NO_GLOBAL] = "malformed pickle: call of what is no global",
    [FL_NO_ARGUMENTS] = "malformed pickle: arguments that are no tuple",
    [FL_NO_NAME] = "malformed pickle: global without a name",
    [FL_STRING] = "malformed pickle: string without quotes",
    [FL_OPCODE] = "malformed pickle: unknown opcode",
    [FL_DUP] = "forbidden opcode DUP",
    [FL_PERSID] = "forbidden opcode PERSID",
    [FL_BINPERSID] = "forbidden opcode BINPERSID",
    [FL_EXT1] = "forbidden opcode EXT1",
    [FL_EXT2] = "forbidden opcode EXT2",
    [FL_EXT4] = "forbidden opcode EXT4",
    [FL_NEXT_BUFFER] = "forbidden opcode NEXT_BUFFER",
    [FL_READONLY_BUFFER] = "forbidden opcode READONLY_BUFFER",
    [FL_IS_NONE] = "not a record: nonetype",
    [FL_IS_BOOL] = "not a record: bool",
    [FL_IS_INT] = "not a record: int",
    [FL_IS_FLOAT] = "not a record: float",
    [FL_IS_STR] = "not a record: str",
    [FL_IS_BYTES] = "not a record: bytes",
    [FL_IS_GLOBAL] = "not a record: global",
    [FL_IS_LIST] = "not a record: list",
    [FL_IS_SET] = "not a record: set",
    [FL_IS_TUPLE] = "not a record: tuple",
    [FL_IS_OVERFLOW] = "not a record: overflow",
};

const char *fl_verdict_text(int verdict)
{
    return verdict >= 0 && verdict < FL_VERDICTS ? REASONS[verdict] : "unknown verdict";
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

fl_translator *fl_translator_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                                 const fl_meanings *meanings, enum fl_form form)
{
    if (bounds->nodes > NODES_MAX || form > FL_LINES)
        return NULL;
    fl_translator *translator = calloc(1, sizeof *translator);
    if (!translator)
        return NULL;
    translator->form = form;
    fl_reader *reader = &translator->reader;
    reader->stack = malloc(FL_SLOTS * sizeof *reader->stack);
    reader->memo = malloc(FL_SLOTS * sizeof *reader->memo);
    reader->pool = malloc(FL_POOL * sizeof *reader->pool);
    reader->nodes = calloc(FL_NODES, sizeof *reader->nodes);
    translator->row = fl_row_new(columns, n, bounds, meanings, form);
    if (reader->stack && reader->memo && reader->pool && reader->nodes && translator->row)
        return translator;
    fl_translator_free(translator);
    return NULL;
}

void fl_translator_free(fl_translator *translator)
{
    if (!translator)
        return;
    fl_reader *reader = &translator->reader;
    free(reader->stack);
    free(reader->memo);
    free(reader->pool);
    free(reader->nodes);
    while (reader->scratch) {
        fl_chunk *chunk = reader->scratch;
        reader->scratch = chunk->next;
        free(chunk);
    }
    fl_row_free(translator->row);
    free(translator->rows.data);
    free(translator->lines.data);
    free(translator);
}

int fl_translator_begin(fl_translator *translator, double received, uint64_t offset)
{
    static const uint8_t begin[] = {0x80, 4, ']', '('}; /* PROTO 4, a list, what is in it */
    translator->rows.len = translator->lines.len = 0;
    translator->rows.failed = translator->lines.failed = false;
    fl_bytes_add(&translator->rows, begin, sizeof begin);
    fl_row_begin(translator->row, received, offset);
    return translator->rows.failed ? FL_ENOMEM : 0;
}

static int translate(fl_translator *translator, const uint8_t *frame, uint32_t len,
                     const fl_value *host, uint32_t idx)
{
    fl_value record;
    if (len && frame[0] == '{') /* a JSON object */
        return FL_FALLBACK;
    int verdict = fl_reader_read(&translator->reader, frame, len, &record);
    if (verdict)
        return verdict;
    bool lines = translator->form == FL_LINES;
    return fl_row_add(translator->row, &translator->reader, &record, len, host, idx,
                      lines ? &translator->lines : &translator->rows, &translator->rows);
}

/* A run of a block. */
typedef struct fl_run {
    uint8_t kind, peer_len;
    uint32_t frames;
    const uint8_t *peer, *body;
    size_t len; /* of the body: the frames with their lengths */
} fl_run;

static int translate_run(fl_translator *translator, const fl_run *run, const fl_value *host,
                         uint32_t idx, uint8_t *verdicts)
{
    const uint8_t *frames = run->body;
    size_t len = run->len;
    int others = 0;

    for (uint32_t i = 0; i < run->frames; i++) {
        if (len < FL_FRAME_HEADER)
            return FL_EINVAL;
        uint32_t size = read_u32(frames);
        if (len - FL_FRAME_HEADER < size)
            return FL_EINVAL;
        int verdict = translate(translator, frames + FL_FRAME_HEADER, size, host, idx + i);
        if (verdict < 0)
            return verdict;
        if (verdict && translator->form == FL_LINES)
            fl_bytes_add(&translator->lines, "\n", 1);
        verdicts[i] = (uint8_t)verdict;
        others += verdict != FL_PLAIN;
        frames += FL_FRAME_HEADER + size;
        len -= FL_FRAME_HEADER + size;
    }
    return len ? FL_EINVAL : others;
}

int fl_translator_run(fl_translator *translator, const uint8_t *frames, size_t len, uint32_t count,
                      uint32_t idx, const char *host, size_t host_len, uint8_t *verdicts)
{
    fl_run run = {.frames = count, .body = frames, .len = len};
    fl_value from = {
        .kind = FL_K_TEXT, .len = (uint32_t)host_len, .at.text = (const uint8_t *)host};
    if (fl_text_check(from.at.text, host_len) == FL_TEXT_INVALID || count > INT32_MAX)
        return FL_EINVAL;
    return translate_run(translator, &run, &from, idx, verdicts);
}

/* Reads the run at the beginning of these bytes. Returns how many it takes, 0 if it does not fit.
 */
static size_t read_run(const uint8_t *at, size_t len, fl_run *out)
{
    if (len < FL_RUN_HEADER)
        return 0;
    *out = (fl_run){.kind = at[0], .peer_len = at[1], .frames = read_u32(at + 8)};
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

/* The peer without its port: `127.0.0.1:5` is at `127.0.0.1`, `[::1]:5` at `::1`. */
static fl_value host_of(const fl_run *run)
{
    const uint8_t *peer = run->peer, *end = peer + run->peer_len;
    if (peer < end && *peer == '[') {
        peer++;
        const uint8_t *bracket = memchr(peer, ']', (size_t)(end - peer));
        end = bracket ? bracket : end;
    } else {
        const uint8_t *colon = memchr(peer, ':', run->peer_len);
        if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1)))
            end = colon;
    }
    return (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)(end - peer), .at.text = peer};
}

/* Leaves all frames of a run to the caller. */
static int leave(fl_translator *translator, const fl_run *run, uint8_t *verdicts)
{
    memset(verdicts, FL_FALLBACK, run->frames);
    for (uint32_t i = 0; i < run->frames && translator->form == FL_LINES; i++)
        fl_bytes_add(&translator->lines, "\n", 1);
    return (int)run->frames;
}

int fl_translator_block(fl_translator *translator, const uint8_t *runs, size_t len, uint32_t frames,
                        uint8_t *verdicts)
{
    uint32_t idx = 0;
    int others = 0;

    if (frames > INT32_MAX)
        return FL_EINVAL;
    while (len) {
        fl_run run;
        size_t used = read_run(runs, len, &run);
        if (!used || run.frames > frames - idx)
            return FL_EINVAL;
        fl_value host = host_of(&run);
        bool records = run.kind == FL_RUN_STOCK || run.kind == FL_RUN_BATCH;
        int more = records && fl_text_check(host.at.text, host.len) != FL_TEXT_INVALID
                       ? translate_run(translator, &run, &host, idx, verdicts + idx)
                       : leave(translator, &run, verdicts + idx);
        if (more < 0)
            return more;
        others += more;
        idx += run.frames;
        runs += used;
        len -= used;
    }
    return idx == frames ? others : FL_EINVAL;
}

int fl_translator_end(fl_translator *translator, fl_translation *out)
{
    fl_bytes_add(&translator->rows, "e.", 2); /* into the list, and that is all */
    *out = (fl_translation){translator->rows.data, translator->rows.len, translator->lines.data,
                            translator->lines.len};
    return translator->rows.failed || translator->lines.failed ? FL_ENOMEM : 0;
}
