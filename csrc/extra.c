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

int fl_row_extra(fl_row *row, fl_reader *reader, size_t first, uint32_t depth)
{
    fl_bytes_add(&row->json, "{", 1);
    size_t end = row->entries_used;
    for (size_t i = first; i < end; i++) {
        if (i > first)
            fl_bytes_add(&row->json, ",", 1);
        fl_json_text(&row->json, row->entries[i].name.text, row->entries[i].name.len);
        fl_bytes_add(&row->json, ":", 1);
        int verdict = json_value(row, reader, row->entries[i].value, depth);
        if (verdict)
            return verdict;
    }
    fl_bytes_add(&row->json, "}", 1);
    return FL_PLAIN;
}

static int json_dict(fl_row *row, fl_reader *reader, const fl_value *dict, uint32_t depth)
{
    size_t first = row->entries_used;
    fl_walk walk = fl_walk_over(reader, dict);
    for (const fl_value *key; (key = fl_walk_next(&walk));) {
        int verdict = fl_row_entry(row, reader, first, key, fl_walk_next(&walk));
        if (verdict)
            return verdict;
    }
    int verdict = fl_row_extra(row, reader, first, depth);
    row->entries_used = first;
    return verdict;
}

static int json_list(fl_row *row, fl_reader *reader, const fl_value *list, uint32_t depth)
{
    const char *between = "[";
    fl_walk walk = fl_walk_over(reader, list);
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
    char text[FL_DELTA_TEXT];
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
    case FL_K_DELTA:
        fl_json_text(&row->json, (uint8_t *)text, fl_object_delta(value->at.integer, text));
        break;
    case FL_K_GLOBAL: fl_json_text(&row->json, value->at.text, value->len); break;
    case FL_K_TEXT:
    case FL_K_ODD:
    case FL_K_BYTES: {
        int verdict = fl_row_text(row, reader, value, &span);
        if (verdict)
            return verdict;
        fl_json_text(&row->json, span.text, span.len);
        break;
    }
    default: return FL_FOREIGN;
    }
    return FL_PLAIN;
}

/* An object that is shown as it came: {"!": "module.Class", "args": […], "state": …}. */
static int json_object(fl_row *row, fl_reader *reader, const fl_value *object, uint32_t depth)
{
    const fl_value *parts = &reader->pool[object->at.items.first + 1];
    const fl_value *class = &parts[FL_OBJECT_CLASS], *args = &parts[FL_OBJECT_ARGS];
    const fl_value *state = &parts[FL_OBJECT_STATE];
    int verdict = FL_PLAIN;

    json_literal(row, "{\"!\":");
    fl_json_text(&row->json, class->at.text, class->len);
    if (args->len) {
        json_literal(row, ",\"args\":");
        verdict = json_list(row, reader, args, depth);
    }
    bool none = state->kind <= FL_K_NONE ||
                (fl_is_empty(state) && fl_is_container(state) && !state->object);
    if (!none && !verdict) {
        json_literal(row, ",\"state\":");
        verdict = json_value(row, reader, state, depth);
    }
    json_literal(row, "}");
    return verdict;
}

/* One value, `depth` containers below the record. A known object counts as one: the Python reader
 * asks how deep it lies before it asks what it is. */
static int json_value(fl_row *row, fl_reader *reader, const fl_value *value, uint32_t depth)
{
    bool deeper = fl_is_container(value);
    bool object = value->object && value->kind != FL_K_GLOBAL;
    row->nodes += 1 + object;
    if (row->nodes >= row->nodes_limit || row->json.len >= row->weight)
        return FL_FOREIGN;
    if ((deeper || object) && depth >= row->bounds.depth)
        return FL_FOREIGN;
    if (value->kind == FL_K_DICT)
        return json_dict(row, reader, value, depth + 1);
    if (value->kind == FL_K_OBJECT)
        return json_object(row, reader, value, depth + 1);
    return deeper ? json_list(row, reader, value, depth + 1) : json_scalar(row, reader, value);
}
