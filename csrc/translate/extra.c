/* extra.c: the attributes without a column, as JSON. Pure.
 *
 * Gives what fastlog/decode/renderer.py and classes.py make of a value, as msgspec writes it.
 */
#include "extra.h"
#include "generic.h"
#include "json.h"
#include "objects.h"

static int json_value(fl_row *row, fl_pool *pool, const fl_value *value, uint32_t depth);

static void json_literal(fl_row *row, const char *text)
{
    fl_buffer_add(&row->json, text, strlen(text));
}

static uint32_t hash_name(const fl_str *name, uint32_t dict)
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

/* Adds a key of a dict to the table. Returns FL_FALLBACK if the dict has the key already, or if the
 * record has too many. */
static int add_key(fl_row *row, const fl_str *name, uint32_t dict)
{
    uint32_t hash = hash_name(name, dict);
    if (row->dict_keys_used == FL_DICT_KEYS / 2)
        return FL_FALLBACK;
    fl_dict_key *key = &row->dict_keys[hash % FL_DICT_KEYS];
    for (; key->dict >= row->first_dict;
         key = &row->dict_keys[(size_t)(key - row->dict_keys + 1) % FL_DICT_KEYS])
        if (key->dict == dict && key->hash == hash && key->name.len == name->len &&
            fl_same(key->name.text, name->text, name->len))
            return FL_FALLBACK;
    *key = (fl_dict_key){*name, hash, dict};
    row->dict_keys_used++;
    return FL_PLAIN;
}

static int constant(const char *text, fl_str *out)
{
    *out = (fl_str){(const uint8_t *)text, (uint32_t)strlen(text)};
    return FL_PLAIN;
}

static int integer_name(fl_pool *pool, int64_t integer, fl_str *out)
{
    char digits[FL_INTEGER_TEXT];
    fl_value text;
    int verdict = fl_pool_add_text(pool, digits, fl_integer_write(integer, digits), &text);
    if (!verdict)
        *out = (fl_str){text.at.text, text.len};
    return verdict;
}

/* Makes *out the name that a key has in JSON. */
static int key_name(fl_row *row, fl_pool *pool, const fl_value *key, fl_str *out)
{
    if (key->kind != FL_K_TEXT)
        row->work += row->bounds.key;
    if (fl_is_text(key))
        return fl_row_text(row, pool, key, out);
    row->nodes++;
    row->work += row->bounds.value;
    switch (key->kind) {
    case FL_K_NONE: return constant("None", out);
    case FL_K_TRUE: return constant("True", out);
    case FL_K_FALSE: return constant("False", out);
    case FL_K_INT: return integer_name(pool, key->at.integer, out);
    default: return FL_FALLBACK;
    }
}

static int json_pair(fl_row *row, fl_pool *pool, uint32_t dict, const fl_value *key,
                     const fl_value *value, uint32_t depth)
{
    fl_str name;
    int verdict = key_name(row, pool, key, &name);
    if (!verdict)
        verdict = add_key(row, &name, dict);
    if (verdict)
        return verdict;
    fl_json_text(&row->json, name.text, name.len);
    fl_buffer_add(&row->json, ":", 1);
    return json_value(row, pool, value, depth);
}

int fl_extra_write(fl_row *row, fl_pool *pool)
{
    if (row->last_dict > UINT32_MAX / 2) { /* the numbers start again */
        memset(row->dict_keys, 0, FL_DICT_KEYS * sizeof *row->dict_keys);
        row->last_dict = 0;
    }
    uint32_t dict = row->first_dict = ++row->last_dict;
    row->dict_keys_used = 0;
    fl_buffer_add(&row->json, "{", 1);
    for (size_t i = 0; i < row->extra_used; i++) {
        if (i)
            fl_buffer_add(&row->json, ",", 1);
        int verdict = json_pair(row, pool, dict, row->extra[i].key, row->extra[i].value, 0);
        if (verdict)
            return verdict;
    }
    fl_buffer_add(&row->json, "}", 1);
    return FL_PLAIN;
}

static int json_dict(fl_row *row, fl_pool *pool, const fl_items *items, uint32_t depth)
{
    const char *between = "{";
    uint32_t dict = ++row->last_dict;
    fl_walk walk = fl_walk_over(pool, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); between = ",") {
        fl_buffer_add(&row->json, between, 1);
        int verdict = json_pair(row, pool, dict, key, fl_walk_next(&walk), depth);
        if (verdict)
            return verdict;
    }
    json_literal(row, *between == '{' ? "{}" : "}");
    return FL_PLAIN;
}

static int json_list(fl_row *row, fl_pool *pool, const fl_items *items, uint32_t depth)
{
    const char *between = "[";
    fl_walk walk = fl_walk_over(pool, items);
    for (const fl_value *value; (value = fl_walk_next(&walk)); between = ",") {
        fl_buffer_add(&row->json, between, 1);
        int verdict = json_value(row, pool, value, depth);
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
        fl_buffer_add(&row->json, text, fl_float_write(&row->powers, real, text));
}

static int json_scalar(fl_row *row, fl_pool *pool, const fl_value *value)
{
    char text[FL_INTEGER_TEXT];
    fl_str span;
    switch (value->kind) {
    case FL_K_NONE: json_literal(row, "null"); break;
    case FL_K_TRUE: json_literal(row, "true"); break;
    case FL_K_FALSE: json_literal(row, "false"); break;
    case FL_K_INT:
        fl_buffer_add(&row->json, text, fl_integer_write(value->at.integer, text));
        break;
    case FL_K_UINT:
        fl_buffer_add(&row->json, text, fl_natural_write(value->at.natural, text));
        break;
    case FL_K_FLOAT: json_float(row, value->at.real); break;
    case FL_K_TEXT:
    case FL_K_UNCLEAN:
    case FL_K_BYTES: {
        int verdict = fl_row_text(row, pool, value, &span);
        if (verdict)
            return verdict;
        fl_json_text(&row->json, span.text, span.len);
        break;
    }
    default: return FL_FALLBACK;
    }
    return FL_PLAIN;
}

/* Writes {"!": "module.Class", "args": [...], "state": ...}, `depth` containers below the record.
 */
static int json_generic(fl_row *row, fl_pool *pool, const fl_generic *generic, uint32_t depth)
{
    int verdict = FL_PLAIN;
    json_literal(row, "{\"!\":");
    fl_json_text(&row->json, (const uint8_t *)generic->name, generic->name_len);
    if (generic->args && generic->args->len) {
        json_literal(row, ",\"args\":");
        verdict = json_list(row, pool, generic->args, depth);
    }
    if (generic->state && !verdict) {
        json_literal(row, ",\"state\":");
        verdict = json_value(row, pool, generic->state, depth);
    }
    json_literal(row, "}");
    return verdict;
}

/* Writes an object, `depth` containers below the record: as its class is rendered, or generically.
 */
static int json_object(fl_row *row, fl_pool *pool, const fl_value *object, uint32_t depth)
{
    fl_value found;
    if (depth >= row->bounds.depth)
        return FL_FALLBACK;
    row->work += row->bounds.object + row->bounds.container;
    int verdict = fl_object_read(pool, object, row->weight_limit - row->text_bytes, &found);
    if (verdict == FL_FALLBACK) {
        fl_generic generic;
        verdict = fl_generic_read(pool, object, &row->meanings, &generic);
        return verdict ? verdict : json_generic(row, pool, &generic, depth + 1);
    }
    if (verdict)
        return verdict;
    row->nodes++;
    if (fl_is_text(&found))
        return json_scalar(row, pool, &found);
    return json_list(row, pool, &fl_node_of(pool, &found)->items, depth + 1);
}

/* Writes a value, `depth` containers below the record. */
static int json_value(fl_row *row, fl_pool *pool, const fl_value *value, uint32_t depth)
{
    row->nodes++;
    row->work += row->bounds.value;
    if (row->nodes >= row->nodes_limit || row->work >= row->work_limit ||
        row->json.len >= row->weight_limit)
        return FL_FALLBACK;
    if (value->kind == FL_K_OBJECT)
        return json_object(row, pool, value, depth);
    if (!fl_is_container(value))
        return json_scalar(row, pool, value);
    if (depth >= row->bounds.depth)
        return FL_FALLBACK;
    row->work += row->bounds.container;
    const fl_items *items = &fl_node_of(pool, value)->items;
    return value->kind == FL_K_DICT ? json_dict(row, pool, items, depth + 1)
                                    : json_list(row, pool, items, depth + 1);
}
