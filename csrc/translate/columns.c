/* columns.c: the columns of a row, found by the names of attributes. Pure. */
#include "columns.h"
#include "json.h"

static uint32_t hash_name(const uint8_t *name, size_t len)
{
    return (uint32_t)len * 31 ^ (uint32_t)name[0] * 7 ^ (uint32_t)name[len - 1] * 13;
}

int fl_columns_find(const fl_columns *columns, const uint8_t *name, size_t len)
{
    if (len == 0 || len >= FL_COLUMN_NAME)
        return -1;
    for (uint32_t at = hash_name(name, len);; at++) {
        int column = columns->lookup[at % FL_COLUMN_LOOKUP] - 1;
        if (column < 0 || fl_column_is_named(&columns->of[column], name, len))
            return column;
    }
}

/* Sets the name that a column has in a line. Returns false if it is too long or needs an escape. */
static bool set_key(fl_column_info *column, const char *key)
{
    size_t len = strlen(key);
    if (len >= FL_COLUMN_NAME || fl_json_length((const uint8_t *)key, len) != len)
        return false;
    memcpy(column->key, ",\"", 2);
    memcpy(column->key + 2, key, len);
    memcpy(column->key + 2 + len, "\":", 2);
    column->key_len = (uint8_t)(len + 4);
    return true;
}

/* Lets the lookup find the column by its name. Returns false if another one has the name. */
static bool index_name(fl_columns *columns, size_t index)
{
    const fl_column_info *column = &columns->of[index];
    const uint8_t *name = (const uint8_t *)column->name;
    if (!column->len || fl_columns_find(columns, name, column->len) >= 0)
        return false;
    uint32_t at = hash_name(name, column->len);
    while (columns->lookup[at % FL_COLUMN_LOOKUP])
        at++;
    columns->lookup[at % FL_COLUMN_LOOKUP] = (uint8_t)(index + 1);
    return true;
}

/* Remembers the column by its kind, for those that look for that kind in each record. */
static void index_kind(fl_columns *columns, size_t index)
{
    uint8_t kind = columns->of[index].kind, number = (uint8_t)(index + 1);
    if (fl_column_is_attribute(kind))
        columns->attributes[columns->attributes_n++] = (uint8_t)index;
    if (kind == FL_COL_MESSAGE)
        columns->message = number;
    else if (kind == FL_COL_TWIN)
        columns->twin = number;
    else if (kind == FL_COL_NESTED)
        columns->nested = number;
}

bool fl_columns_add(fl_columns *columns, const fl_column *column)
{
    size_t len = strlen(column->name), index = columns->n;
    if (index == FL_COLUMNS_MAX || column->kind > FL_COL_NESTED || len >= FL_COLUMN_NAME ||
        column->group > FL_GROUPS)
        return false;
    fl_column_info *info = &columns->of[index];
    info->kind = column->kind;
    info->flags = column->flags;
    info->group = column->group;
    info->len = (uint8_t)len;
    memcpy(info->name, column->name, len);
    if (!set_key(info, column->key ? column->key : column->name))
        return false;
    index_kind(columns, columns->n++);
    bool has_name = fl_column_is_attribute(column->kind) || fl_column_is_dropped(column->kind);
    return !has_name || index_name(columns, index);
}
