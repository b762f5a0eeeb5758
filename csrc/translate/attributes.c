/* attributes.c: sorts the attributes of a record into columns. Pure.
 *
 * Gives what fastlog/decode/attributes.py and validation.py and fastlog/record.py give for records
 * whose every value is as the schema requires. Where those would coerce, cut, note or rename a
 * value, the result is FL_FALLBACK.
 */
#include "attributes.h"

enum {
    MEMBERS_MAX = 256,       /* of a dict, and attributes beside it: as MEMBERS in validation.py */
    NAMES_TO_COMPARE = 1024, /* members of a dict, times attributes */
    LONGEST_NAME = 256,      /* of a member, in bytes */
};

static void add_extra(fl_row *row, const fl_value *key, const fl_value *value)
{
    row->extra[row->extra_used++] = (fl_attribute){key, value};
}

/* Sets an attribute that has a name of the schema. */
static int set_field(fl_row *row, const fl_pool *pool, int column, const fl_value *key,
                     const fl_value *value)
{
    if (row->values[column])
        return FL_FALLBACK;
    row->values[column] = value;
    switch (row->columns.of[column].kind) {
    case FL_COL_ARGS: return fl_is_empty(pool, value) ? FL_PLAIN : FL_FALLBACK;
    case FL_COL_EMPTY:
        if (fl_is_empty(pool, value))
            return FL_PLAIN;
        add_extra(row, key, value);
        break;
    case FL_COL_TWIN: add_extra(row, key, value); break;
    case FL_COL_NESTED: add_extra(row, key, value); return FL_PLAIN;
    default: return FL_PLAIN;
    }
    /* An object may be rendered as a value that is dropped. */
    return value->kind == FL_K_OBJECT ? FL_FALLBACK : FL_PLAIN;
}

static int set_all(fl_row *row, const fl_pool *pool, const fl_value *record)
{
    fl_walk walk = fl_walk_over(pool, &fl_node_of(pool, record)->items);
    uint32_t place = 0;
    for (const fl_value *key; (key = fl_walk_next(&walk)); place++) {
        const fl_value *value = fl_walk_next(&walk);
        int column = -1, verdict = FL_PLAIN;
        if (key->kind == FL_K_TEXT || key->kind == FL_K_BYTES)
            column = fl_columns_guess(&row->columns, place, key->at.text, key->len);
        if (column >= 0)
            verdict = set_field(row, pool, column, key, value);
        else
            add_extra(row, key, value);
        if (verdict)
            return verdict;
    }
    return FL_PLAIN;
}

/* Whether a member may become an attribute: its name is clean text that no attribute has. */
static bool may_be_lifted(const fl_row *row, const fl_value *key)
{
    if (key->kind != FL_K_TEXT || key->len > LONGEST_NAME ||
        fl_columns_find(&row->columns, key->at.text, key->len) >= 0)
        return false;
    for (size_t i = 0; i < row->extra_used; i++) {
        const fl_value *other = row->extra[i].key;
        if (other->kind == FL_K_BYTES || other->kind == FL_K_UNCLEAN)
            return false; /* its name is not known here */
        if (other->kind == FL_K_TEXT && other->len == key->len &&
            fl_same(other->at.text, key->at.text, key->len))
            return false;
    }
    return true;
}

/* Replaces the attribute FL_COL_NESTED, if it is a dict, by its members. Where one of these must
 * stay in it, Python decides. */
static int lift_members(fl_row *row, const fl_pool *pool)
{
    const fl_value *nested = row->columns.nested ? row->values[row->columns.nested - 1] : NULL;
    if (!nested || nested->kind != FL_K_DICT)
        return FL_PLAIN;
    const fl_items *items = &fl_node_of(pool, nested)->items;
    size_t members = items->len / 2, at = 0;
    while (row->extra[at].value != nested)
        at++;
    if (fl_node_of(pool, nested)->is_shared || members > MEMBERS_MAX ||
        row->extra_used > MEMBERS_MAX || members * row->extra_used > NAMES_TO_COMPARE)
        return FL_FALLBACK;
    fl_walk walk = fl_walk_over(pool, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); fl_walk_next(&walk))
        if (!may_be_lifted(row, key))
            return FL_FALLBACK;
    row->extra_used--;
    memmove(&row->extra[at + members], &row->extra[at + 1],
            (row->extra_used - at) * sizeof *row->extra);
    row->extra_used += members;
    walk = fl_walk_over(pool, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); at++)
        row->extra[at] = (fl_attribute){key, fl_walk_next(&walk)};
    return FL_PLAIN;
}

/* Whether loggers use this value for a field without a value. */
static bool means_none(const fl_pool *pool, const fl_value *value)
{
    return !fl_is_set(value) || value->kind == FL_K_FALSE ||
           (fl_is_container(value) && fl_is_empty(pool, value));
}

static int check_time(const fl_row *row, const fl_value *value)
{
    if (!fl_is_set(value))
        return FL_PLAIN;
    return fl_is_time(value) && fl_time_of(value) >= row->bounds.first &&
                   fl_time_of(value) < row->bounds.last
               ? FL_PLAIN
               : FL_FALLBACK;
}

static int check_integer(fl_row *row, const fl_pool *pool, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(pool, value) || (fl_is_text(value) && value->len == 0)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return value->kind == FL_K_INT ? FL_PLAIN : FL_FALLBACK;
}

static int check_text(fl_row *row, fl_pool *pool, size_t column)
{
    const fl_value *value = row->values[column];
    if (means_none(pool, value)) {
        row->values[column] = NULL;
        return FL_PLAIN;
    }
    return fl_is_text(value) ? fl_row_text(row, pool, value, &row->texts[column]) : FL_FALLBACK;
}

static int check_trace(fl_row *row, fl_pool *pool, size_t column)
{
    fl_str *text = &row->texts[column];
    int verdict = check_text(row, pool, column);
    if (verdict || !text->text || text->len > 1 || (text->len == 1 && text->text[0] != '\n'))
        return verdict;
    *text = (fl_str){0};
    return FL_PLAIN;
}

static int check_message(fl_row *row, fl_pool *pool, size_t column)
{
    const fl_value *value = row->values[column];
    return fl_is_set(value) && fl_is_text(value) ? check_text(row, pool, column) : FL_FALLBACK;
}

static int check_column(fl_row *row, fl_pool *pool, size_t column)
{
    switch (row->columns.of[column].kind) {
    case FL_COL_TIME: return check_time(row, row->values[column]);
    case FL_COL_INTEGER: return check_integer(row, pool, column);
    case FL_COL_TEXT: return check_text(row, pool, column);
    case FL_COL_TRACE: return check_trace(row, pool, column);
    case FL_COL_MESSAGE: return check_message(row, pool, column);
    default: return FL_PLAIN;
    }
}

/* Checks the type of each attribute that has a column, and that those with FL_COL_ALL_OR_NONE are
 * all set or none. */
static int check_columns(fl_row *row, fl_pool *pool)
{
    int group_is_set = -1; /* not known yet */
    for (size_t i = 0; i < row->columns.attributes_n; i++) {
        size_t column = row->columns.attributes[i];
        int verdict = check_column(row, pool, column);
        if (verdict)
            return verdict;
        if (row->columns.of[column].flags & FL_COL_ALL_OR_NONE) {
            if (group_is_set >= 0 && group_is_set != fl_is_set(row->values[column]))
                return FL_FALLBACK;
            group_is_set = fl_is_set(row->values[column]);
        }
    }
    return FL_PLAIN;
}

/* Removes the attribute FL_COL_TWIN from the attributes without a column, if it is None or equals
 * the message. */
static int drop_twin(fl_row *row, fl_pool *pool)
{
    const fl_columns *columns = &row->columns;
    if (!columns->twin || !columns->message || !row->values[columns->twin - 1])
        return FL_PLAIN;
    const fl_value *twin = row->values[columns->twin - 1];
    const fl_str *message = &row->texts[columns->message - 1];
    if (twin->kind != FL_K_NONE) {
        fl_str text;
        if (!fl_is_text(twin))
            return FL_PLAIN;
        int verdict = fl_row_text(row, pool, twin, &text);
        if (verdict)
            return verdict;
        if (text.len != message->len || !fl_same(text.text, message->text, text.len))
            return FL_PLAIN;
    }
    size_t at = 0;
    while (row->extra[at].value != twin)
        at++;
    memmove(&row->extra[at], &row->extra[at + 1], (--row->extra_used - at) * sizeof *row->extra);
    return FL_PLAIN;
}

int fl_attributes_sort(fl_row *row, fl_pool *pool, const fl_value *record)
{
    int verdict = set_all(row, pool, record);
    if (!verdict)
        verdict = lift_members(row, pool);
    if (!verdict)
        verdict = check_columns(row, pool);
    if (!verdict)
        verdict = drop_twin(row, pool);
    return verdict || fl_row_is_light(row) ? verdict : FL_FALLBACK;
}
