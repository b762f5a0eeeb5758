/* extra.c: the attributes of a record that have no column, as JSON. Pure.
 *
 * The twin of what fastlog/decode/normal.py and objects.py make of a value, as msgspec writes it.
 */
#include "row.h"

static int json_value(fl_row *row, fl_reader *reader, const fl_value *value, uint32_t depth);

static void json_literal(fl_row *row, const char *text)
{
    fl_bytes_add(&row->json, text, strlen(text));
}

static uint32_t hash_name(const fl_span_text *name, uint32_t dict)
{
    uint64_t hash = dict ^ (uint64_t)name->len << 32, word;
    for (size_t at = 0; at < name->len; at += sizeof word) {
        size_t n = name->len - at < sizeof word ? name->len - at : sizeof word;
        word = 0;
        memcpy(&word, name->text + at, n);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    return (uint32_t)(hash * UINT64_C(0xD6E8FEB86659FD93) >> 32);
}

/* Notes that a dict has a key of this name. FL_FALLBACK: it had it before, or there are too many.
 */
static int note_name(fl_row *row, const fl_span_text *name, uint32_t dict)
{
    uint32_t hash = hash_name(name, dict);
    if (row->keys_used == FL_KEYS / 2)
        return FL_FALLBACK;
    fl_key *key = &row->keys[hash % FL_KEYS];
    for (; key->dict >= row->keys_since; key = &row->keys[(size_t)(key - row->keys + 1) % FL_KEYS])
        if (key->dict == dict && key->hash == hash && key->name.len == name->len &&
            fl_same(key->name.text, name->text, name->len))
            return FL_FALLBACK;
    *key = (fl_key){*name, hash, dict};
    row->keys_used++;
    return FL_PLAIN;
}

static int constant(const char *text, fl_span_text *out)
{
    *out = (fl_span_text){(const uint8_t *)text, (uint32_t)strlen(text)};
    return FL_PLAIN;
}

/* The name that a key gives its value. */
static int name_of(fl_row *row, fl_reader *reader, const fl_value *key, fl_span_text *out)
{
    if (key->kind != FL_K_TEXT)
        row->work += row->bounds.key;
    if (fl_is_text(key))
        return fl_row_text(row, reader, key, out);
    row->nodes++;
    row->work += row->bounds.value;
    switch (key->kind) {
    case FL_K_NONE: return constant("None", out);
    case FL_K_TRUE: return constant("True", out);
    case FL_K_FALSE: return constant("False", out);
    case FL_K_INT: {
        char digits[21];
        size_t len = fl_integer_write(key->at.integer, digits);
        uint8_t *made = fl_reader_scratch(reader, len);
        if (!made)
            return FL_ENOMEM;
        memcpy(made, digits, len);
        *out = (fl_span_text){made, (uint32_t)len};
        return FL_PLAIN;
    }
    default: return FL_FALLBACK;
    }
}

static int json_pair(fl_row *row, fl_reader *reader, uint32_t dict, const fl_value *key,
                     const fl_value *value, uint32_t depth)
{
    fl_span_text name;
    int verdict = name_of(row, reader, key, &name);
    if (!verdict)
        verdict = note_name(row, &name, dict);
    if (verdict)
        return verdict;
    fl_json_text(&row->json, name.text, name.len);
    fl_bytes_add(&row->json, ":", 1);
    return json_value(row, reader, value, depth);
}

int fl_row_extra(fl_row *row, fl_reader *reader)
{
    if (row->dicts > UINT32_MAX / 2) { /* the numbers begin anew */
        memset(row->keys, 0, FL_KEYS * sizeof *row->keys);
        row->dicts = 0;
    }
    uint32_t dict = row->keys_since = ++row->dicts;
    row->keys_used = 0;
    fl_bytes_add(&row->json, "{", 1);
    for (size_t i = 0; i < row->entries_used; i++) {
        if (i)
            fl_bytes_add(&row->json, ",", 1);
        int verdict = json_pair(row, reader, dict, row->entries[i].key, row->entries[i].value, 0);
        if (verdict)
            return verdict;
    }
    fl_bytes_add(&row->json, "}", 1);
    return FL_PLAIN;
}

static int json_dict(fl_row *row, fl_reader *reader, const fl_items *items, uint32_t depth)
{
    const char *between = "{";
    uint32_t dict = ++row->dicts;
    fl_walk walk = fl_walk_over(reader, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); between = ",") {
        fl_bytes_add(&row->json, between, 1);
        int verdict = json_pair(row, reader, dict, key, fl_walk_next(&walk), depth);
        if (verdict)
            return verdict;
    }
    json_literal(row, *between == '{' ? "{}" : "}");
    return FL_PLAIN;
}

static int json_list(fl_row *row, fl_reader *reader, const fl_items *items, uint32_t depth)
{
    const char *between = "[";
    fl_walk walk = fl_walk_over(reader, items);
    for (const fl_value *value; (value = fl_walk_next(&walk)); between = ",") {
        fl_bytes_add(&row->json, between, 1);
        int verdict = json_value(row, reader, value, depth);
        if (verdict)
            return verdict;
    }
    json_literal(row, *between == '[' ? "[]" : "]");
    return FL_PLAIN;
}

static void json_float(fl_row *row, double real)
{
    char text[FL_FLOAT_TEXT];
    if (real != real)
        json_literal(row, "\"NaN\"");
    else if (real - real != 0)
        json_literal(row, real > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        fl_bytes_add(&row->json, text, fl_float_write(&row->powers, real, text));
}

static int json_scalar(fl_row *row, fl_reader *reader, const fl_value *value)
{
    char text[21];
    fl_span_text span;
    switch (value->kind) {
    case FL_K_NONE: json_literal(row, "null"); break;
    case FL_K_TRUE: json_literal(row, "true"); break;
    case FL_K_FALSE: json_literal(row, "false"); break;
    case FL_K_INT: fl_bytes_add(&row->json, text, fl_integer_write(value->at.integer, text)); break;
    case FL_K_UINT:
        fl_bytes_add(&row->json, text, fl_natural_write(value->at.natural, text));
        break;
    case FL_K_FLOAT: json_float(row, value->at.real); break;
    case FL_K_TEXT:
    case FL_K_ODD:
    case FL_K_BYTES: {
        int verdict = fl_row_text(row, reader, value, &span);
        if (verdict)
            return verdict;
        fl_json_text(&row->json, span.text, span.len);
        break;
    }
    default: return FL_FALLBACK;
    }
    return FL_PLAIN;
}

/* {"!": "module.Class", "args": [...], "state": ...}, `depth` containers below the record. */
static int json_shown(fl_row *row, fl_reader *reader, const fl_shown *shown, uint32_t depth)
{
    int verdict = FL_PLAIN;
    json_literal(row, "{\"!\":");
    fl_json_text(&row->json, (const uint8_t *)shown->name, shown->name_len);
    if (shown->args && shown->args->len) {
        json_literal(row, ",\"args\":");
        verdict = json_list(row, reader, shown->args, depth);
    }
    if (shown->state && !verdict) {
        json_literal(row, ",\"state\":");
        verdict = json_value(row, reader, shown->state, depth);
    }
    json_literal(row, "}");
    return verdict;
}

/* An object, `depth` containers below the record: what it stands for, or as it came. */
static int json_object(fl_row *row, fl_reader *reader, const fl_value *object, uint32_t depth)
{
    fl_value found;
    if (depth >= row->bounds.depth)
        return FL_FALLBACK;
    row->work += row->bounds.object + row->bounds.container;
    int verdict = fl_object_read(reader, object, row->weight - row->charged, &found);
    if (verdict == FL_FALLBACK) {
        fl_shown shown;
        verdict = fl_object_show(reader, object, &row->meanings, &shown);
        return verdict ? verdict : json_shown(row, reader, &shown, depth + 1);
    }
    if (verdict)
        return verdict;
    row->nodes++;
    if (fl_is_text(&found))
        return json_scalar(row, reader, &found);
    return json_list(row, reader, &fl_node_of(reader, &found)->items, depth + 1);
}

/* One value, `depth` containers below the record. */
static int json_value(fl_row *row, fl_reader *reader, const fl_value *value, uint32_t depth)
{
    row->nodes++;
    row->work += row->bounds.value;
    if (row->nodes >= row->nodes_limit || row->work >= row->work_limit ||
        row->json.len >= row->weight)
        return FL_FALLBACK;
    if (value->kind == FL_K_OBJECT)
        return json_object(row, reader, value, depth);
    if (!fl_is_container(value))
        return json_scalar(row, reader, value);
    if (depth >= row->bounds.depth)
        return FL_FALLBACK;
    row->work += row->bounds.container;
    const fl_items *items = &fl_node_of(reader, value)->items;
    return value->kind == FL_K_DICT ? json_dict(row, reader, items, depth + 1)
                                    : json_list(row, reader, items, depth + 1);
}
