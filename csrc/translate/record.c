/* record.c: the value of a frame becomes a row. Pure.
 *
 * All that can make a record a fallback comes first; what is written then is a whole row. A record
 * that is not plain is left to Python: its attributes without a column as a tree, or all of it.
 */
#include "record.h"
#include "attributes.h"
#include "copy.h"
#include "extra.h"
#include "line.h"
#include "pickled.h"

static const uint8_t VERDICTS[] = {
    [FL_SCOPE_NONE] = FL_PLAIN, [FL_SCOPE_EXTRA] = FL_EXTRA, [FL_SCOPE_RECORD] = FL_TREE};

static const uint8_t NOT_RECORD[] = {
    [FL_K_NONE] = FL_NOT_RECORD_NONE,     [FL_K_TRUE] = FL_NOT_RECORD_BOOL,
    [FL_K_FALSE] = FL_NOT_RECORD_BOOL,    [FL_K_INT] = FL_NOT_RECORD_INT,
    [FL_K_UINT] = FL_NOT_RECORD_INT,      [FL_K_BIG_DIGITS] = FL_NOT_RECORD_INT,
    [FL_K_BIG_BYTES] = FL_NOT_RECORD_INT, [FL_K_FLOAT] = FL_NOT_RECORD_FLOAT,
    [FL_K_TEXT] = FL_NOT_RECORD_STR,      [FL_K_UNCLEAN] = FL_NOT_RECORD_STR,
    [FL_K_BYTES] = FL_NOT_RECORD_BYTES,   [FL_K_GLOBAL] = FL_NOT_RECORD_GLOBAL,
    [FL_K_LIST] = FL_NOT_RECORD_LIST,     [FL_K_SET] = FL_NOT_RECORD_SET,
    [FL_K_TUPLE] = FL_NOT_RECORD_TUPLE,   [FL_K_OVERFLOW] = FL_NOT_RECORD_OVERFLOW,
};

/* Writes `extra` as JSON, and checks that the record stays within all bounds. */
static int write_extra(fl_row *row, fl_pool *pool)
{
    int verdict = fl_extra_write(row, pool);
    if (row->json.failed)
        return FL_ENOMEM;
    bool fits =
        row->nodes < row->nodes_limit && row->work < row->work_limit && fl_row_is_light(row);
    return verdict || fits ? verdict : FL_FALLBACK;
}

int fl_record_add(fl_row *row, fl_pool *pool, const fl_value *record, size_t frame_len,
                  const fl_value *host, uint32_t idx, fl_rows *rows)
{
    if (record->kind != FL_K_DICT && record->kind != FL_K_OBJECT)
        return NOT_RECORD[record->kind];
    fl_row_begin_record(row, frame_len);
    enum fl_tree_scope scope = FL_SCOPE_RECORD;
    int verdict = FL_FALLBACK;
    if (record->kind == FL_K_DICT && !fl_node_of(pool, record)->is_shared)
        verdict = fl_attributes_sort(row, pool, record);
    if (!verdict) {
        verdict = write_extra(row, pool);
        scope = verdict ? FL_SCOPE_EXTRA : FL_SCOPE_NONE;
    }
    if (verdict < 0)
        return verdict;
    if (scope == FL_SCOPE_NONE && row->form == FL_LINES)
        return fl_line_write(row, idx, &rows->lines);
    if (scope == FL_SCOPE_NONE && row->form == FL_COPY)
        return fl_copy_write(row, host, idx, &rows->copy);
    if (scope == FL_SCOPE_NONE && row->form == FL_COLUMNS)
        return fl_column_lists_add(&rows->columns, row, host, idx);
    verdict = fl_pickled_write(row, pool, record, scope, host, idx, &rows->pickled);
    return verdict ? verdict : VERDICTS[scope];
}
