/* embed_translator.c: a C program that embeds the translator. It reads a file of frames, each
 * after its length, and translates each frame, and each beginning of it, at the very end of a page:
 * a read of one byte too many crashes. Run by test_translator_folder.py. */
#include "fuzz/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

typedef struct translators {
    fl_translator *rows, *lines, *columns, *copy;
} translators;

/* Translates one frame alone. Returns its verdict or an error. */
static int translate_into(fl_translator *translator, enum fl_form form, const uint8_t *run,
                          size_t len)
{
    fl_translation made;
    uint8_t verdict;
    fl_translator_begin(translator, 1.5, 7);
    int result = fl_translator_run(translator, run, len, 1, 0, "h", 1, &verdict);
    if (result < 0)
        return result;
    if (fl_translator_end(translator, &made) < 0 || made.rows[made.rows_len - 1] != '.')
        return -1;
    if (form == FL_COLUMNS && made.columns[made.columns_len - 1] != '.')
        return -1;
    return form == FL_LINES && made.lines[made.lines_len - 1] != '\n' ? -1 : verdict;
}

/* Translates it in all forms, whose verdicts must be equal. */
static int translate(const translators *of, const uint8_t *run, size_t len)
{
    int verdict = translate_into(of->rows, FL_ROWS, run, len);
    return translate_into(of->lines, FL_LINES, run, len) == verdict &&
                   translate_into(of->columns, FL_COLUMNS, run, len) == verdict &&
                   translate_into(of->copy, FL_COPY, run, len) == verdict
               ? verdict
               : -1;
}

static fl_translator *make(enum fl_form form)
{
    return fl_translator_new(COLUMNS, COLUMN_COUNT, &BOUNDS, &MEANINGS, form);
}

/* Returns the length of the longest beginning that both have: the frame before had each of these.
 * It is 0 for the first frame, whose empty beginning is translated too. */
static size_t shared(const uint8_t *frame, size_t len, const uint8_t *before, size_t len_before)
{
    size_t at = 0;
    while (at < len && at < len_before && frame[at] == before[at])
        at++;
    return at;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    translators of = {make(FL_ROWS), make(FL_LINES), make(FL_COLUMNS), make(FL_COPY)};
    uint8_t *pages =
        mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static uint8_t frame[PAGE], before[PAGE];
    size_t len_before = 0;
    unsigned plain = 0, not_plain = 0;

    if (!file || !of.rows || !of.lines || !of.columns || !of.copy || pages == MAP_FAILED)
        return 2;
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    while (fread(frame, 1, FL_FRAME_HEADER, file) == FL_FRAME_HEADER) {
        size_t len = (size_t)frame[2] << 8 | frame[3];
        if (len > PAGE - FL_FRAME_HEADER || fread(frame, 1, len, file) != len)
            return 3;
        for (size_t cut = shared(frame, len, before, len_before); cut <= len; cut++) {
            uint8_t *run = pages + PAGE - FL_FRAME_HEADER - cut;
            memcpy(run, (uint8_t[]){0, 0, (uint8_t)(cut >> 8), (uint8_t)cut}, FL_FRAME_HEADER);
            memcpy(run + FL_FRAME_HEADER, frame, cut);
            int verdict = translate(&of, run, FL_FRAME_HEADER + cut);
            if (verdict < 0 || (verdict == FL_PLAIN && cut < len)) {
                fprintf(stderr, "a frame of %zu bytes, cut to %zu: %d\n", len, cut, verdict);
                return 1;
            }
            run[3]++; /* one byte more than there is, but for the lengths that end in 255 */
            if (run[3] && translate(&of, run, FL_FRAME_HEADER + cut) != FL_EINVAL)
                return 5;
            plain += verdict == FL_PLAIN;
            not_plain += verdict != FL_PLAIN;
        }
        memcpy(before, frame, len_before = len);
    }
    fclose(file);
    fl_translator_free(of.rows);
    fl_translator_free(of.lines);
    fl_translator_free(of.columns);
    fl_translator_free(of.copy);
    fl_translator_free(NULL);
    munmap(pages, 2 * PAGE);
    if (strcmp(fl_verdict_text(FL_FORBIDDEN_DUP), "forbidden opcode DUP") || !plain || !not_plain)
        return 4;
    puts("ok");
    return 0;
}
