/* fuzz_framer.c: feeds any stream in any pieces, and compares the frames with a small reference.
 *
 * The first two bytes of the input are the limit and the length of the pieces, the rest is the
 * stream. Build it with libFuzzer, or with driver.c where there is none.
 */
#include "fastlog.h"
#include "require.h"

#include <string.h>

/* Reads the frame at *at of the whole stream. Returns 1, 0 at the end, or an error. */
static int reference(const uint8_t *stream, size_t len, size_t *at, uint32_t limit, fl_frame *out)
{
    const uint8_t *p = stream + *at;
    size_t left = len - *at;
    if (left < FL_FRAME_HEADER)
        return left ? FL_ETRUNCATED : 0;
    uint64_t body = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
    if (body > limit)
        return FL_ETOOLONG;
    if (left - FL_FRAME_HEADER < body)
        return FL_ETRUNCATED;
    *out = (fl_frame){p + FL_FRAME_HEADER, (uint32_t)body};
    *at += FL_FRAME_HEADER + (size_t)body;
    return 1;
}

static int feed(fl_framer *framer, const uint8_t *stream, size_t len, size_t *at, uint32_t limit,
                const uint8_t *piece, size_t n)
{
    fl_frame out[3], expected;
    int result = fl_framer_feed(framer, piece, n);
    while (result >= 0 && (result = fl_framer_next(framer, out, 3)) > 0)
        for (int i = 0; i < result; i++) {
            REQUIRE(reference(stream, len, at, limit, &expected) == 1);
            REQUIRE(out[i].len == expected.len);
            REQUIRE(!out[i].len || memcmp(out[i].data, expected.data, out[i].len) == 0);
        }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint32_t limit = data[0] + 1u;
    size_t step = data[1] + 1u, len = size - 2, done = 0;
    const uint8_t *stream = data + 2;
    fl_framer *framer = fl_framer_new(limit);
    fl_frame frame;
    int result = 0;

    REQUIRE(framer);
    for (size_t at = 0; at < len && result >= 0; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *piece = malloc(n); /* of its own, so that a sanitizer detects an over-read */
        REQUIRE(piece);
        memcpy(piece, stream + at, n);
        result = feed(framer, stream, len, &done, limit, piece, n);
        free(piece);
    }
    if (result >= 0)
        result = fl_framer_end(framer);
    REQUIRE(reference(stream, len, &done, limit, &frame) == result);
    fl_framer_free(framer);
    return 0;
}
