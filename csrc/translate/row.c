/* row.c: a row while it is made, and the limits of its record. Pure. */
#include "row.h"
#include "json.h"

#include <stdlib.h>

enum {
    DEPTH_MAX = 64,
    ESCAPE_MAX = 6,        /* bytes that JSON makes of one at most */
    SHORT_TEXTS = 1 << 14, /* bytes: below, room for the worst case costs less than counting */
};

fl_row *fl_row_new(const fl_column *columns, size_t n, const fl_bounds *bounds,
                   const fl_meanings *meanings, enum fl_form form)
{
    if (n > FL_COLUMNS_MAX || bounds->depth > DEPTH_MAX)
        return NULL;
    fl_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!fl_columns_add(&row->columns, &columns[i])) {
            fl_row_free(row);
            return NULL;
        }
    row->form = form;
    row->bounds = *bounds;
    row->meanings = *meanings;
    row->extra = malloc(FL_POOL_VALUES / 2 * sizeof *row->extra); /* half the values are keys */
    row->dict_keys = calloc(FL_DICT_KEYS, sizeof *row->dict_keys);
    row->tree_table = calloc(FL_TREE_TABLE, sizeof *row->tree_table);
    if (!row->extra || !row->dict_keys || !row->tree_table) {
        fl_row_free(row);
        return NULL;
    }
    fl_powers_prepare(&row->powers);
    return row;
}

void fl_row_free(fl_row *row)
{
    if (!row)
        return;
    free(row->extra);
    free(row->dict_keys);
    free(row->tree_table);
    free(row->json.data);
    free(row->line.fixed.data);
    free(row->line.sender.data);
    free(row);
}

void fl_row_begin(fl_row *row, double received, uint64_t offset)
{
    row->received = received;
    row->offset = offset;
    row->json.failed = row->line.is_begun = false;
    if (row->form == FL_LINES) {
        row->received_len = fl_float_write(&row->powers, received, row->received_text);
        row->offset_len = fl_natural_write(offset, row->offset_text);
    }
    memset(&row->memo, 0, sizeof row->memo);
}

static size_t weight_limit(const fl_bounds *bounds, size_t frame_len)
{
    uint64_t limit = (uint64_t)bounds->weight_times * frame_len + bounds->weight_more;
    return limit < bounds->weight ? (size_t)limit : bounds->weight;
}

static uint32_t nodes_limit(const fl_bounds *bounds, size_t frame_len)
{
    uint64_t limit = (uint64_t)frame_len + bounds->nodes_more;
    return limit < bounds->nodes ? (uint32_t)limit : bounds->nodes;
}

void fl_row_begin_record(fl_row *row, size_t frame_len)
{
    for (size_t i = 0; i < row->columns.n; i++) {
        row->values[i] = NULL;
        row->texts[i] = (fl_str){0};
    }
    row->frame_len = frame_len;
    row->extra_used = row->json.len = row->text_bytes = 0;
    row->nodes = 0;
    row->weight_limit = weight_limit(&row->bounds, frame_len);
    row->nodes_limit = nodes_limit(&row->bounds, frame_len);
    row->work = 0;
    row->work_limit = (uint64_t)row->bounds.work_times * frame_len + row->bounds.work_more;
}

int fl_row_text(fl_row *row, fl_pool *pool, const fl_value *value, fl_str *out)
{
    *out = (fl_str){value->at.text, value->len};
    row->text_bytes += value->len;
    if (row->text_bytes > row->weight_limit)
        return FL_FALLBACK;
    if (value->kind == FL_K_TEXT ||
        (value->kind == FL_K_BYTES && fl_text_check(value->at.text, value->len) == FL_TEXT_CLEAN))
        return FL_PLAIN;
    bool surrogates = value->kind == FL_K_UNCLEAN;
    size_t len = fl_text_escape(value->at.text, value->len, surrogates, NULL);
    row->text_bytes += len - value->len;
    row->work += (uint64_t)row->bounds.escape * value->len;
    if (row->text_bytes > row->weight_limit)
        return FL_FALLBACK;
    uint8_t *escaped = fl_pool_scratch(pool, len);
    if (!escaped)
        return FL_ENOMEM;
    fl_text_escape(value->at.text, value->len, surrogates, escaped);
    *out = (fl_str){escaped, (uint32_t)len};
    return FL_PLAIN;
}

/* Returns the bytes that JSON makes of the texts in the columns. */
static size_t columns_weight(const fl_row *row)
{
    size_t weight = 0;
    for (size_t i = 0; i < row->columns.n; i++)
        if (row->texts[i].text)
            weight += fl_json_length(row->texts[i].text, row->texts[i].len);
    return weight;
}

size_t fl_row_texts_room(const fl_row *row)
{
    return row->text_bytes < SHORT_TEXTS ? ESCAPE_MAX * row->text_bytes : columns_weight(row);
}

bool fl_row_is_light(const fl_row *row)
{
    /* The worst case is mostly good enough, and costs nothing. */
    return row->json.len + ESCAPE_MAX * row->text_bytes < row->weight_limit ||
           row->json.len + columns_weight(row) < row->weight_limit;
}
