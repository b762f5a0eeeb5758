/* fuzz_repack.c: any frame is answered, harms nobody, and what comes out is nothing but data.
 *
 * The input is one frame. It is translated twice, with a good frame behind it: both answers are the
 * same, the good frame is plain, and the translation is a list of rows as only the translator
 * writes it. As lines, each of the two frames has one, and it is an object. Then the input is taken
 * for the runs of a block. Built with libFuzzer, or with driver.c where there is none.
 */
#include "require.h"
#include "schema.h"

#include <string.h>

static const uint8_t GOOD[] = "}(X\3\0\0\0msgX\2\0\0\0hiX\7\0\0\0levelnoK\24X\11\0\0\0"
                              "levelnameX\4\0\0\0INFOX\4\0\0\0nameX\3\0\0\0appX\1\0\0\0xG"
                              "\77\362\0\0\0\0\0\0u.";

typedef struct reader {
    const uint8_t *p, *end;
    uint32_t memo;
} reader;

static uint32_t take(reader *in, int width)
{
    uint32_t value = 0;
    REQUIRE(in->end - in->p >= width);
    for (int i = 0; i < width; i++)
        value |= (uint32_t)in->p[i] << 8 * i;
    in->p += width;
    return value;
}

static void skip(reader *in, uint32_t n)
{
    REQUIRE((size_t)(in->end - in->p) >= n);
    in->p += n;
}

/* One value, with the opcode that puts it into the memo. */
static void check_value(reader *in)
{
    switch (take(in, 1)) {
    case 'N': return;
    case 'K': skip(in, 1); break;
    case 'M': skip(in, 2); break;
    case 'J': skip(in, 4); break;
    case 0x8a: skip(in, take(in, 1)); break;
    case 'G': skip(in, 8); break;
    case 0x8c: skip(in, take(in, 1)); break;
    case 'X': skip(in, take(in, 4)); break;
    case 'h': REQUIRE(take(in, 1) < in->memo); return;
    case 'j': REQUIRE(take(in, 4) < in->memo); return;
    default: abort();
    }
    if (in->p < in->end && *in->p == 0x94) {
        in->p++;
        in->memo++;
    }
}

static void check(const uint8_t *data, size_t len, int rows)
{
    reader in = {.p = data, .end = data + len};
    REQUIRE(take(&in, 4) == 0x285d0480u); /* PROTO 4, EMPTY_LIST, MARK */
    for (int row = 0; row < rows; row++) {
        REQUIRE(take(&in, 1) == '(');
        for (int i = 0; i < VALUES; i++)
            check_value(&in);
        REQUIRE(take(&in, 1) == 't');
    }
    REQUIRE(take(&in, 2) == 0x2e65 && in.p == in.end); /* APPENDS, STOP */
}

static uint8_t *put_frame(uint8_t *to, const uint8_t *data, size_t len)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(len >> shift);
    if (len)
        memcpy(to, data, len);
    return to + len;
}

/* An object of JSON, as far as brackets and strings go, and its line end; or the line end alone. */
static const uint8_t *check_line(const uint8_t *p, const uint8_t *end, bool empty)
{
    int depth = 0;
    bool quoted = false;
    REQUIRE(p < end && (*p == '\n') == empty);
    for (; p < end && *p != '\n'; p++) {
        REQUIRE(*p >= 0x20 && (depth || *p == '{'));
        if (*p == '"')
            quoted = !quoted;
        else if (quoted && *p == '\\')
            REQUIRE(++p < end);
        else if (!quoted)
            depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        REQUIRE(depth || p[1] == '\n');
    }
    REQUIRE(p < end && !quoted && !depth);
    return p + 1;
}

static void check_lines(const uint8_t *run, size_t len, const uint8_t expected[2])
{
    static fl_repacker *repacker;
    const uint8_t *lines;
    size_t size;
    uint8_t verdicts[2] = {0};
    if (!repacker)
        repacker = fl_repacker_new(COLUMNS, COLUMN_COUNT, &BOUNDS, FL_LINES);
    REQUIRE(repacker);
    fl_repacker_begin(repacker, 1.5, 7);
    REQUIRE(fl_repacker_run(repacker, run, len, 2, 0, "h", 1, verdicts) >= 0);
    REQUIRE(fl_repacker_end(repacker, &lines, &size) == 0);
    REQUIRE(memcmp(verdicts, expected, 2) == 0);
    const uint8_t *end = lines + size;
    const uint8_t *second = check_line(lines, end, verdicts[0] != FL_PLAIN);
    REQUIRE(check_line(second, end, false) == end);
}

static void check_block(fl_repacker *repacker, const uint8_t *data, size_t size)
{
    const uint8_t *rows;
    size_t len;
    uint8_t verdicts[256];
    uint32_t frames = size >= 12 ? data[11] : 0; /* of its first run, if that has few */
    fl_repacker_begin(repacker, 1.5, 7);
    int others = fl_repacker_block(repacker, data, size, frames, verdicts);
    REQUIRE(others == FL_EINVAL || (others >= 0 && (uint32_t)others <= frames));
    REQUIRE(fl_repacker_end(repacker, &rows, &len) == 0);
    if (others >= 0)
        check(rows, len, (int)frames - others);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fl_repacker *repacker;
    const uint8_t *first, *again;
    size_t first_len, again_len, good = sizeof GOOD - 1;
    uint8_t verdicts[2] = {0}, same[2] = {0};

    if (!repacker)
        repacker = fl_repacker_new(COLUMNS, COLUMN_COUNT, &BOUNDS, FL_ROWS);
    uint8_t *run = malloc(2 * FL_FRAME_HEADER + size + good);
    REQUIRE(repacker && run);
    uint8_t *end = put_frame(put_frame(run, data, size), GOOD, good);
    fl_repacker_begin(repacker, 1.5, 7);
    int others = fl_repacker_run(repacker, run, (size_t)(end - run), 2, 0, "h", 1, verdicts);
    REQUIRE(others >= 0 && verdicts[0] < FL_VERDICTS && verdicts[1] == FL_PLAIN);
    REQUIRE(fl_repacker_end(repacker, &first, &first_len) == 0);
    check(first, first_len, 2 - others);

    uint8_t *kept = malloc(first_len);
    REQUIRE(kept);
    memcpy(kept, first, first_len);
    fl_repacker_begin(repacker, 1.5, 7);
    REQUIRE(fl_repacker_run(repacker, run, (size_t)(end - run), 2, 0, "h", 1, same) == others);
    REQUIRE(fl_repacker_end(repacker, &again, &again_len) == 0 && same[0] == verdicts[0]);
    REQUIRE(again_len == first_len && memcmp(kept, again, first_len) == 0);
    free(kept);
    check_lines(run, (size_t)(end - run), verdicts);
    check_block(repacker, data, size);
    free(run);
    return 0;
}
