/* fuzz_translator.c: any frame has a verdict, harms nothing, and is translated to data only.
 *
 * The input is one frame. It is translated twice, with a good frame after it: both results are
 * equal, the good frame is plain, and the translation is a list of rows, in data opcodes that the
 * translator writes. As lines, each of the two frames has one: an object if the frame is plain,
 * else an empty line. As columns, each list has a value for each plain frame. As COPY data, each
 * plain frame has a tuple. Then the input is translated as the runs of a block. Built with
 * libFuzzer, or with driver.c where there is none.
 */
#include "require.h"
#include "schema.h"

#include <string.h>

static const uint8_t GOOD[] = "}(X\3\0\0\0msgX\2\0\0\0hiX\7\0\0\0levelnoK\24X\11\0\0\0"
                              "levelnameX\4\0\0\0INFOX\4\0\0\0nameX\3\0\0\0appX\1\0\0\0xG"
                              "\77\362\0\0\0\0\0\0u.";

static const uint8_t NODE[FL_NODE] = "0123456789abcde";

/* The state of a check of a pickle: the values and marks that its machine would have. */
typedef struct reader {
    const uint8_t *p, *end;
    uint32_t memo;
    size_t depth, marks;
    size_t below[4]; /* values below each open mark */
    int rows;
    bool lists; /* whether it is the pickle of columns */
    size_t lengths[LISTS];
    int closed; /* lists of columns so far */
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

static void push(reader *in, uint32_t argument)
{
    REQUIRE((size_t)(in->end - in->p) >= argument);
    in->p += argument;
    in->depth++;
}

static void fetch(reader *in, uint32_t memo)
{
    REQUIRE(memo < in->memo);
    in->depth++;
}

static void mark(reader *in)
{
    REQUIRE(in->marks < sizeof in->below / sizeof *in->below);
    in->below[in->marks++] = in->depth;
    in->depth = 0;
}

/* Closes the last mark. Returns the number of values after it. */
static size_t collect(reader *in)
{
    REQUIRE(in->marks);
    size_t n = in->depth;
    in->depth = in->below[--in->marks];
    return n;
}

static void digits(reader *in)
{
    const uint8_t *begin = in->p;
    while (in->p < in->end && (*in->p == '-' || (*in->p >= '0' && *in->p <= '9')))
        in->p++;
    REQUIRE(in->p - begin <= 4097 && take(in, 2) == 0x0a4cu); /* L, line feed */
    in->depth++;
}

static void end_list(reader *in)
{
    size_t n = collect(in);
    REQUIRE(in->depth && (n || in->lists));
    if (in->lists && in->marks == 1) {
        REQUIRE(in->closed < LISTS);
        in->lengths[in->closed++] = n;
    }
}

static void end_tuple(reader *in)
{
    size_t n = collect(in);
    if (!in->lists)
        REQUIRE(n == VALUES && in->marks == 1);
    else if (in->marks) /* a combination, in a list of the tuple of lists */
        REQUIRE(in->marks == 2 && (n == 3 || n == 2));
    else
        REQUIRE(n == LISTS);
    in->depth++;
    in->rows++;
}

/* Checks one opcode. Returns false after the last. */
static bool check_opcode(reader *in)
{
    switch (take(in, 1)) {
    case 'N':
    case 0x88:
    case 0x89:
    case ']':
    case '}': push(in, 0); return true;
    case 'K': push(in, 1); return true;
    case 'M': push(in, 2); return true;
    case 'J': push(in, 4); return true;
    case 'G': push(in, 8); return true;
    case 0x8a:
    case 0x8c:
    case 'C': push(in, take(in, 1)); return true;
    case 0x8b:
    case 'B':
    case 'X': push(in, take(in, 4)); return true;
    case 'L': digits(in); return true;
    case 'h': fetch(in, take(in, 1)); return true;
    case 'j': fetch(in, take(in, 4)); return true;
    case 0x94:
        REQUIRE(in->depth);
        in->memo++;
        return true;
    case '(': mark(in); return true;
    case 'e': end_list(in); return true;
    case 'u': REQUIRE(collect(in) % 2 == 0 && in->depth); return true;
    case '1': collect(in); return true;
    case 's':
        REQUIRE(in->depth >= 3);
        in->depth -= 2;
        return true;
    case 0x87:
        REQUIRE(in->depth >= 3);
        in->depth -= 2;
        return true;
    case 't': end_tuple(in); return true;
    case '.': return false;
    default: abort();
    }
}

static void check(const uint8_t *data, size_t len, int rows)
{
    reader in = {.p = data, .end = data + len};
    REQUIRE(take(&in, 4) == 0x285d0480u); /* PROTO 4, EMPTY_LIST, MARK */
    in.depth = 1;
    mark(&in);
    while (in.end - in.p > 2) {
        REQUIRE(check_opcode(&in));
        REQUIRE(in.marks || in.p == in.end);
    }
    REQUIRE(take(&in, 2) == 0x2e65 && in.p == in.end); /* APPENDS, STOP */
    REQUIRE(in.marks == 1 && in.rows == rows && in.depth == (size_t)rows);
}

/* Checks a pickle of columns: a tuple of lists that have this length, but for those of the new
 * combinations, which are no longer. */
static void check_lists(const uint8_t *data, size_t len, size_t length)
{
    reader in = {.p = data, .end = data + len, .lists = true};
    REQUIRE(take(&in, 2) == 0x0480u); /* PROTO 4 */
    while (check_opcode(&in))
        ;
    REQUIRE(in.p == in.end && !in.marks && in.depth == 1 && in.closed == LISTS - 2 && !in.memo);
    for (int i = 0; i < in.closed; i++)
        REQUIRE(i == 1 || i == 3 ? in.lengths[i] <= length : in.lengths[i] == length);
}

/* Returns the number of frames that have rows. */
static int count_rows(const uint8_t *verdicts, size_t n)
{
    int rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += verdicts[i] == FL_PLAIN || verdicts[i] == FL_EXTRA || verdicts[i] == FL_TREE;
    return rows;
}

static uint8_t *put_frame(uint8_t *to, const uint8_t *data, size_t len)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *to++ = (uint8_t)(len >> shift);
    if (len)
        memcpy(to, data, len);
    return to + len;
}

/* Checks a line: an object of JSON, as far as brackets and strings go, or nothing if `empty`.
 * Returns the end of the line. */
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
    static fl_translator *translator;
    fl_translation made;
    uint8_t verdicts[2] = {0};
    if (!translator)
        translator = fl_translator_new(COLUMNS, COLUMN_COUNT, &BOUNDS, &MEANINGS, FL_LINES);
    REQUIRE(translator);
    fl_translator_begin(translator, 1.5, 7);
    REQUIRE(fl_translator_run(translator, run, len, 2, 0, "h", 1, verdicts) >= 0);
    REQUIRE(fl_translator_end(translator, &made) == 0);
    REQUIRE(memcmp(verdicts, expected, 2) == 0);
    check(made.rows, made.rows_len, count_rows(verdicts, 1) - (verdicts[0] == FL_PLAIN));
    const uint8_t *end = made.lines + made.lines_len;
    const uint8_t *second = check_line(made.lines, end, verdicts[0] != FL_PLAIN);
    REQUIRE(check_line(second, end, false) == end);
}

static void check_columns(const uint8_t *run, size_t len, const uint8_t expected[2])
{
    static fl_translator *translator;
    fl_translation made;
    uint8_t verdicts[2] = {0};
    if (!translator)
        translator = fl_translator_new(COLUMNS, COLUMN_COUNT, &BOUNDS, &MEANINGS, FL_COLUMNS);
    REQUIRE(translator);
    fl_translator_begin(translator, 1.5, 7);
    REQUIRE(fl_translator_run(translator, run, len, 2, 0, "h", 1, verdicts) >= 0);
    REQUIRE(fl_translator_end(translator, &made) == 0);
    REQUIRE(memcmp(verdicts, expected, 2) == 0);
    size_t plain = (size_t)(verdicts[0] == FL_PLAIN) + 1;
    check(made.rows, made.rows_len, count_rows(verdicts, 1) - (verdicts[0] == FL_PLAIN));
    check_lists(made.columns, made.columns_len, plain);
}

/* Checks a tuple of COPY data: fields that end where the data says, the last of them the node. */
static const uint8_t *check_tuple(const uint8_t *p, const uint8_t *end)
{
    reader in = {.p = p, .end = end};
    REQUIRE(take(&in, 2) == FIELDS << 8);
    for (int i = 0; i < FIELDS; i++) {
        uint32_t length = 0;
        for (int k = 0; k < 4; k++)
            length = length << 8 | take(&in, 1);
        if (i == FIELDS - 1)
            REQUIRE(length == FL_NODE && end - in.p >= FL_NODE && memcmp(in.p, NODE, FL_NODE) == 0);
        push(&in, length == UINT32_MAX ? 0 : length);
    }
    return in.p;
}

static void check_copy(const uint8_t *run, size_t len, const uint8_t expected[2])
{
    static fl_translator *translator;
    fl_translation made;
    uint8_t verdicts[2] = {0};
    if (!translator)
        translator = fl_translator_new(COLUMNS, COLUMN_COUNT, &BOUNDS, &MEANINGS, FL_COPY);
    REQUIRE(translator);
    fl_translator_set_node(translator, NODE);
    fl_translator_begin(translator, 1.5, 7);
    REQUIRE(fl_translator_run(translator, run, len, 2, 0, "h", 1, verdicts) >= 0);
    REQUIRE(fl_translator_end(translator, &made) == 0);
    REQUIRE(memcmp(verdicts, expected, 2) == 0);
    check(made.rows, made.rows_len, count_rows(verdicts, 1) - (verdicts[0] == FL_PLAIN));
    const uint8_t *p = made.copy, *end = made.copy + made.copy_len;
    if (verdicts[0] == FL_PLAIN)
        p = check_tuple(p, end);
    REQUIRE(check_tuple(p, end) == end);
}

static void check_block(fl_translator *translator, const uint8_t *data, size_t size)
{
    fl_translation made;
    uint8_t verdicts[256];
    uint32_t frames = size >= 12 ? data[11] : 0; /* of its first run, if that has few */
    fl_translator_begin(translator, 1.5, 7);
    int not_plain = fl_translator_block(translator, data, size, frames, verdicts);
    REQUIRE(not_plain == FL_EINVAL || (not_plain >= 0 && (uint32_t)not_plain <= frames));
    REQUIRE(fl_translator_end(translator, &made) == 0);
    if (not_plain >= 0)
        check(made.rows, made.rows_len, count_rows(verdicts, frames));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fl_translator *translator;
    fl_translation first, again;
    size_t good = sizeof GOOD - 1;
    uint8_t verdicts[2] = {0}, same[2] = {0};

    if (!translator)
        translator = fl_translator_new(COLUMNS, COLUMN_COUNT, &BOUNDS, &MEANINGS, FL_ROWS);
    uint8_t *run = malloc(2 * FL_FRAME_HEADER + size + good);
    REQUIRE(translator && run);
    uint8_t *end = put_frame(put_frame(run, data, size), GOOD, good);
    fl_translator_begin(translator, 1.5, 7);
    int not_plain = fl_translator_run(translator, run, (size_t)(end - run), 2, 0, "h", 1, verdicts);
    REQUIRE(not_plain >= 0 && verdicts[0] < FL_VERDICTS && verdicts[1] == FL_PLAIN);
    REQUIRE(fl_translator_end(translator, &first) == 0);
    check(first.rows, first.rows_len, count_rows(verdicts, 2));

    uint8_t *kept = malloc(first.rows_len);
    REQUIRE(kept);
    memcpy(kept, first.rows, first.rows_len);
    fl_translator_begin(translator, 1.5, 7);
    REQUIRE(fl_translator_run(translator, run, (size_t)(end - run), 2, 0, "h", 1, same) ==
            not_plain);
    REQUIRE(fl_translator_end(translator, &again) == 0 && same[0] == verdicts[0]);
    REQUIRE(again.rows_len == first.rows_len && memcmp(kept, again.rows, first.rows_len) == 0);
    free(kept);
    check_lines(run, (size_t)(end - run), verdicts);
    check_columns(run, (size_t)(end - run), verdicts);
    check_copy(run, (size_t)(end - run), verdicts);
    check_block(translator, data, size);
    free(run);
    return 0;
}
