/* embed_framer.c: a C program that embeds the framer. Its input ends at a protected page, so that
 * an over-read crashes. test_framer.py builds and runs it. */
#include "framer.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

/* Feeds the stream in pieces of `step` bytes, each at the end of a page. Counts the frames, and
 * sums up their bytes. */
static int run(const uint8_t *stream, size_t len, size_t step, uint32_t limit, int *frames,
               size_t *bytes)
{
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fl_framer *framer = fl_framer_new(limit);
    fl_frame out[3];
    int result = 0;
    *frames = 0;
    *bytes = 0;
    mprotect(pages + 4096, 4096, PROT_NONE);
    for (size_t at = 0; at < len && result >= 0; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *piece = memcpy(pages + 4096 - n, stream + at, n);
        result = fl_framer_feed(framer, piece, n);
        while (result >= 0 && (result = fl_framer_next(framer, out, 3)) > 0)
            for (int i = 0; i < result; i++) {
                (*frames)++;
                for (uint32_t k = 0; k < out[i].len; k++)
                    *bytes += out[i].data[k];
            }
    }
    if (result >= 0)
        result = fl_framer_end(framer);
    fl_framer_free(framer);
    munmap(pages, 8192);
    return result;
}

int main(void)
{
    static const uint8_t stream[] = "\0\0\0\3\1\2\3\0\0\0\0\0\0\0\1\4";
    static const uint8_t too_long[] = "\0\0\0\1\7\0\1\0\0";
    int frames;
    size_t bytes;

    for (size_t step = 1; step <= 16; step++) {
        CHECK(run(stream, 16, step, 3, &frames, &bytes) == 0);
        CHECK(frames == 3 && bytes == 10);
        CHECK(run(stream, 15, step, 3, &frames, &bytes) == FL_ETRUNCATED);
        CHECK(frames == 2 && bytes == 6);
        CHECK(run(too_long, 9, step, 3, &frames, &bytes) == FL_ETOOLONG);
        CHECK(frames == 1 && bytes == 7);
    }
    CHECK(fl_framer_new(0) == NULL);
    CHECK(fl_framer_new(FL_FRAME_LIMIT + 1) == NULL);
    fl_framer_free(NULL);

    fl_framer *framer = fl_framer_new(8);
    fl_frame out;
    CHECK(fl_framer_feed(framer, stream, 16) == 0);
    CHECK(fl_framer_feed(framer, stream, 16) == FL_EINVAL); /* in the wrong order; not sticky */
    CHECK(fl_framer_next(framer, &out, 0) == FL_EINVAL);
    CHECK(fl_framer_next(framer, &out, 1) == 1 && out.data == stream + 4); /* no copy */
    fl_framer_free(framer);
    CHECK(strcmp(fl_strerror(FL_ETOOLONG), "frame over the limit") == 0);
    if (!failures)
        puts("ok");
    return failures != 0;
}
