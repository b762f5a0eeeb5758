/* objects.c: what the objects that many records have stand for. Pure.
 *
 * The twin of fastlog/decode/objects.py for a few classes in the shapes that the picklers of
 * CPython give them. Each shape is matched exactly, by the names and the arguments; nothing is
 * called. All others are for that table, which says the same of these.
 */
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_LENGTH = 256,
    STATE_LENGTH = 32,
    UUID_LENGTH = 36,
    ZONE_LENGTH = 64,
    MOMENT = 64 + ZONE_LENGTH,
    PACKED = 10 /* bytes of a datetime's state */
};

#define DAY INT64_C(86400)
#define MILLION INT64_C(1000000)

static const struct {
    const char *name; /* "module:name" */
    uint8_t known;
    bool is_old; /* only protocol 2 and less call it so */
} KNOWN[] = {
    {"_codecs:encode", FL_O_ENCODE, false},
    {"__builtin__:bytes", FL_O_BYTES, true},
    {"builtins:bytes", FL_O_BYTES, false},
    {"__builtin__:bytearray", FL_O_BYTES, true},
    {"builtins:bytearray", FL_O_BYTES, false},
    {"__builtin__:set", FL_O_SET, true},
    {"builtins:set", FL_O_SET, false},
    {"__builtin__:frozenset", FL_O_SET, true},
    {"builtins:frozenset", FL_O_SET, false},
    {"__builtin__:object", FL_O_OBJECT, true},
    {"builtins:object", FL_O_OBJECT, false},
    {"copy_reg:_reconstructor", FL_O_RECONSTRUCTOR, true},
    {"copyreg:_reconstructor", FL_O_RECONSTRUCTOR, false},
    {"datetime:datetime", FL_O_DATETIME, false},
    {"datetime:timedelta", FL_O_TIMEDELTA, false},
    {"datetime:timezone", FL_O_TIMEZONE, false},
    {"zoneinfo:ZoneInfo", FL_O_ZONEINFO, false},
    {"__builtin__:getattr", FL_O_GETATTR, true},
    {"builtins:getattr", FL_O_GETATTR, false},
    {"decimal:Decimal", FL_O_DECIMAL, false},
    {"uuid:UUID", FL_O_UUID, false},
};

static bool equals(const fl_value *value, const char *text)
{
    return value->len == strlen(text) && memcmp(value->at.text, text, value->len) == 0;
}

uint8_t fl_object_known(const fl_value *name, uint8_t protocol)
{
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (equals(name, KNOWN[i].name) && (protocol < 3 || !KNOWN[i].is_old))
            return KNOWN[i].known;
    return FL_O_OTHER;
}

/* An object in a shape that can be understood here: a class that is known, positional arguments,
 * perhaps a state, and nothing else. */
typedef struct shape {
    uint8_t known;
    const fl_value *args; /* n of them, one after the other */
    size_t n;
    const fl_value *state;
} shape;

/* The arguments of a call, if they lie together. */
static bool arguments_of(const fl_reader *reader, const fl_value *args, shape *out)
{
    const fl_items *items = &fl_node_of(reader, args)->items;
    out->n = args->at.node ? items->len : 0;
    out->args = reader->pool + items->first + 1;
    return items->first == items->last; /* one batch, or none */
}

static bool shape_of(const fl_reader *reader, const fl_value *object, shape *out)
{
    if (object->kind != FL_K_OBJECT)
        return false;
    const fl_node *node = fl_node_of(reader, object);
    const fl_value *parts = fl_parts_of(reader, object);
    if (node->items.len || node->pairs.len || parts[FL_PART_CLASS].kind != FL_K_GLOBAL ||
        parts[FL_PART_KWARGS].kind != FL_K_NONE)
        return false;
    out->known = parts[FL_PART_CLASS].known;
    out->state = &parts[FL_PART_STATE];
    return arguments_of(reader, &parts[FL_PART_ARGS], out);
}

/* The same, of this class and without a state. */
static bool is_call(const fl_reader *reader, const fl_value *value, uint8_t known, shape *out)
{
    return shape_of(reader, value, out) && out->known == known && out->state->kind <= FL_K_NONE;
}

static int text_of(fl_reader *reader, const char *text, size_t len, fl_value *out)
{
    uint8_t *made = fl_reader_scratch(reader, len);
    if (!made)
        return FL_ENOMEM;
    memcpy(made, text, len);
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
}

/* ---- Bytes and sets ---- */

/* _codecs.encode(text, "latin1"): the bytes of a Python 3 that speaks protocol 2 or less. */
static int encode(fl_reader *reader, const shape *call, size_t most, fl_value *out)
{
    const fl_value *args = call->args;
    if (call->n != 2 || !fl_is_str(&args[0]) || !fl_is_str(&args[1]) || args[0].len > most ||
        !(equals(&args[1], "latin1") || equals(&args[1], "latin-1")))
        return FL_FALLBACK;
    const uint8_t *text = args[0].at.text;
    uint8_t *made = fl_reader_scratch(reader, args[0].len);
    if (!made)
        return FL_ENOMEM;
    size_t len = 0;
    for (size_t at = 0; at < args[0].len; at++) {
        uint8_t byte = text[at];
        if (byte >= 0x80) {
            if (byte > 0xC3) /* C2 and C3 begin U+0080 to U+00FF */
                return FL_FALLBACK;
            byte = (uint8_t)(byte << 6 | (text[++at] & 0x3F));
        }
        made[len++] = byte;
    }
    *out = (fl_value){.kind = FL_K_BYTES, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
}

static int bytes(fl_reader *reader, const shape *call, size_t most, fl_value *out)
{
    shape inner;
    *out = (fl_value){.kind = FL_K_BYTES, .at.text = (const uint8_t *)""};
    if (!call->n)
        return FL_PLAIN;
    if (call->n > 1)
        return encode(reader, call, most, out);
    if (is_call(reader, call->args, FL_O_ENCODE, &inner))
        return encode(reader, &inner, most, out);
    *out = *call->args;
    return out->kind == FL_K_BYTES ? FL_PLAIN : FL_FALLBACK;
}

static int members(const shape *call, fl_value *out)
{
    *out = call->n ? *call->args : (fl_value){.kind = FL_K_TUPLE};
    return call->n < 2 && (out->kind == FL_K_LIST || out->kind == FL_K_TUPLE) ? FL_PLAIN
                                                                              : FL_FALLBACK;
}

/* ---- Dates and times ---- */

/* HH:MM:SS, and .ffffff where there are any. */
static char *put_time(char *to, const uint8_t *hms, uint32_t micro)
{
    for (int i = 0; i < 3; i++) {
        to = fl_padded_write(hms[i], 2, to);
        *to++ = ':';
    }
    if (!micro)
        return to - 1;
    to[-1] = '.';
    return fl_padded_write(micro, 6, to);
}

static uint32_t big24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static bool is_time(const uint8_t *hms)
{
    return hms[0] < 24 && hms[1] < 60 && hms[2] < 60 && big24(hms + 3) < MILLION;
}

static bool is_date(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1 || year > 9999 || month < 1 || month > 12 || day < 1)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= DAYS[month - 1] + (unsigned)(leap && month == 2);
}

static char *put_date(char *to, unsigned year, unsigned month, unsigned day)
{
    to = fl_padded_write(year, 4, to);
    *to++ = '-';
    to = fl_padded_write(month, 2, to);
    *to++ = '-';
    return fl_padded_write(day, 2, to);
}

/* +HH:MM, and :SS where the offset has seconds. */
static char *put_zone(char *to, int64_t east)
{
    *to++ = east < 0 ? '-' : '+';
    uint64_t seconds = (uint64_t)(east < 0 ? -east : east);
    to = fl_padded_write(seconds / 3600, 2, to);
    *to++ = ':';
    to = fl_padded_write(seconds / 60 % 60, 2, to);
    if (seconds % 60) {
        *to++ = ':';
        to = fl_padded_write(seconds % 60, 2, to);
    }
    return to;
}

/* The offset of a timezone of whole seconds, in seconds east of UTC. */
static bool offset_of(const fl_reader *reader, const fl_value *zone, int64_t *east)
{
    shape call, delta;
    if (!is_call(reader, zone, FL_O_TIMEZONE, &call) || call.n < 1 || call.n > 2 ||
        !is_call(reader, call.args, FL_O_TIMEDELTA, &delta) || delta.n != 3)
        return false;
    for (size_t i = 0; i < delta.n; i++)
        if (delta.args[i].kind != FL_K_INT)
            return false;
    int64_t days = delta.args[0].at.integer, seconds = delta.args[1].at.integer;
    if (days < -1 || days > 0 || seconds < 0 || seconds >= DAY || delta.args[2].at.integer)
        return false;
    *east = days * DAY + seconds;
    return *east > -DAY;
}

/* The name of a ZoneInfo: ZoneInfo._unpickle(name, …), as picklers write it. */
static bool is_named(const fl_reader *reader, const fl_value *zone, const fl_value **name)
{
    shape method, call;
    if (zone->kind != FL_K_OBJECT)
        return false;
    const fl_node *node = fl_node_of(reader, zone);
    const fl_value *parts = fl_parts_of(reader, zone);
    if (node->items.len || node->pairs.len || parts[FL_PART_KWARGS].kind != FL_K_NONE ||
        !is_call(reader, &parts[FL_PART_CLASS], FL_O_GETATTR, &method) || method.n != 2 ||
        method.args[0].known != FL_O_ZONEINFO || method.args[1].kind != FL_K_TEXT ||
        !equals(&method.args[1], "_unpickle") ||
        !arguments_of(reader, &parts[FL_PART_ARGS], &call) || call.n < 1)
        return false;
    *name = &call.args[0];
    return (*name)->kind == FL_K_TEXT && (*name)->len <= ZONE_LENGTH;
}

/* The packed state that a datetime has as its first argument, from any Python. */
static bool packed(const fl_reader *reader, const fl_value *state, uint8_t out[PACKED])
{
    shape call;
    if (is_call(reader, state, FL_O_ENCODE, &call)) {
        if (call.n != 2 || !fl_is_str(call.args))
            return false;
        size_t len = 0, at = 0;
        const uint8_t *text = call.args->at.text;
        for (; at < call.args->len && len < PACKED; at++) {
            uint8_t byte = text[at];
            if (byte > 0xC3)
                return false;
            out[len++] = byte < 0x80 ? byte : (uint8_t)(byte << 6 | (text[++at] & 0x3F));
        }
        return len == PACKED && at == call.args->len;
    }
    if (state->kind != FL_K_BYTES || state->len != PACKED)
        return false;
    memcpy(out, state->at.text, PACKED);
    return true;
}

static int datetime(fl_reader *reader, const shape *call, fl_value *out)
{
    uint8_t raw[PACKED];
    int64_t east = 0;
    bool has_zone = call->n == 2 && call->args[1].kind != FL_K_NONE;
    if (call->n < 1 || call->n > 2 || !packed(reader, call->args, raw))
        return FL_FALLBACK;
    const fl_value *name = NULL;
    if (has_zone && !offset_of(reader, &call->args[1], &east) &&
        !is_named(reader, &call->args[1], &name))
        return FL_FALLBACK;
    unsigned year = (unsigned)raw[0] << 8 | raw[1], month = raw[2] & 0x7F; /* the top bit: fold */
    if (!is_date(year, month, raw[3]) || !is_time(raw + 4))
        return FL_FALLBACK;
    char text[MOMENT], *to = put_date(text, year, month, raw[3]);
    *to++ = 'T';
    to = put_time(to, raw + 4, big24(raw + 7));
    if (name) { /* its offset is not in the pickle */
        *to++ = '[';
        memcpy(to, name->at.text, name->len);
        to += name->len;
        *to++ = ']';
    } else if (has_zone) {
        to = put_zone(to, east);
    }
    return text_of(reader, text, (size_t)(to - text), out);
}

/* ---- UUIDs: an object without arguments, whose state has its 128 bits as an integer ---- */

typedef struct number {
    uint32_t words[4]; /* the least significant first */
} number;

static bool number_of_digits(const fl_value *value, number *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < value->len; i++) {
        if (value->at.text[i] == '-')
            return false;
        uint64_t carry = value->at.text[i] - (unsigned)'0';
        for (int word = 0; word < 4; word++) {
            carry += (uint64_t)out->words[word] * 10;
            out->words[word] = (uint32_t)carry;
            carry >>= 32;
        }
        if (carry)
            return false;
    }
    return true;
}

static bool number_of_bytes(const fl_value *value, number *out)
{
    memset(out, 0, sizeof *out);
    if (value->len > 17 || value->at.text[value->len - 1] >> 7)
        return false;
    if (value->len == 17 && value->at.text[16])
        return false;
    for (size_t i = 0; i < value->len && i < 16; i++)
        out->words[i / 4] |= (uint32_t)value->at.text[i] << 8 * (i % 4);
    return true;
}

/* The 128 bits of an integer that is not negative and has no more. */
static bool number_of(const fl_value *value, number *out)
{
    if (value->kind == FL_K_BIG_DIGITS)
        return number_of_digits(value, out);
    if (value->kind == FL_K_BIG_BYTES)
        return number_of_bytes(value, out);
    if (!(value->kind == FL_K_INT && value->at.integer >= 0) && value->kind != FL_K_UINT)
        return false;
    *out = (number){{(uint32_t)value->at.natural, (uint32_t)(value->at.natural >> 32)}};
    return true;
}

static int uuid(fl_reader *reader, const fl_value *state, fl_value *out)
{
    number found;
    if (state->kind != FL_K_DICT || fl_node_of(reader, state)->items.len > STATE_LENGTH)
        return FL_FALLBACK;
    fl_walk walk = fl_walk_over(reader, &fl_node_of(reader, state)->items);
    for (const fl_value *key; (key = fl_walk_next(&walk));) {
        const fl_value *value = fl_walk_next(&walk);
        if (!fl_is_text(key))
            return FL_FALLBACK;
        if (!equals(key, "int"))
            continue;
        if (!number_of(value, &found))
            return FL_FALLBACK;
        char text[UUID_LENGTH], *to = text;
        for (int nibble = 31; nibble >= 0; nibble--) {
            *to++ = "0123456789abcdef"[found.words[nibble / 8] >> 4 * (nibble % 8) & 15];
            if (nibble == 24 || nibble == 20 || nibble == 16 || nibble == 12)
                *to++ = '-';
        }
        return text_of(reader, text, UUID_LENGTH, out);
    }
    return FL_FALLBACK;
}

/* ---- Objects that are written as they came ---- */

static int compare(const void *name, const void *meaning)
{
    return strcmp(name, *(const char *const *)meaning);
}

static bool is_among(const fl_meanings *meanings, const char *name)
{
    return bsearch(name, meanings->names, meanings->n, sizeof *meanings->names, compare);
}

/* Writes the name of the class of this global; false where Python knows more of it, or calls it by
 * another name, or cuts it. */
static bool name_class(const fl_meanings *meanings, const fl_value *global, fl_shown *out)
{
    const uint8_t *text = global->at.text + FL_GLOBAL_HEAD;
    size_t len = global->len - FL_GLOBAL_HEAD;
    const uint8_t *colon = memchr(text, ':', len);
    size_t module = colon ? (size_t)(colon - text) : len;
    if (module > NAME_LENGTH || len - module > NAME_LENGTH ||
        fl_text_check(text, len) != FL_TEXT_CLEAN)
        return false;
    memcpy(out->name, text, len);
    out->name[module + 1] = 0;
    if (is_among(meanings, out->name))
        return false;
    memcpy(out->name, text, len);
    out->name[module] = '.';
    out->name[len] = 0;
    out->name_len = len;
    return !is_among(meanings, out->name);
}

/* Whether it has an attribute that says how others are kept: `__dict__`. */
static bool has_dunder(const fl_reader *reader, const fl_items *items)
{
    fl_walk walk = fl_walk_over(reader, items);
    for (const fl_value *key; (key = fl_walk_next(&walk)); fl_walk_next(&walk))
        if (fl_is_text(key) && key->len > 1 && !memcmp(key->at.text, "__", 2))
            return true;
    return false;
}

int fl_object_show(const fl_reader *reader, const fl_value *object, const fl_meanings *meanings,
                   fl_shown *out)
{
    const fl_value *parts = fl_parts_of(reader, object), *class = &parts[FL_PART_CLASS];
    shape call;
    if (!shape_of(reader, object, &call) || (call.known && call.known != FL_O_RECONSTRUCTOR))
        return FL_FALLBACK;
    const fl_value *args = &parts[FL_PART_ARGS];
    out->args = args->at.node ? &fl_node_of(reader, args)->items : NULL;
    if (call.known == FL_O_RECONSTRUCTOR) { /* so protocol 1 calls object.__new__() */
        if (call.n != 3 || call.args[0].kind != FL_K_GLOBAL || call.args[1].known != FL_O_OBJECT)
            return FL_FALLBACK;
        class = &call.args[0];
        out->args = NULL;
    }
    if (class->known || !name_class(meanings, class, out))
        return FL_FALLBACK;
    out->state = &parts[FL_PART_STATE];
    if (fl_is_sequence(out->state) && fl_node_of(reader, out->state)->items.len)
        return FL_FALLBACK; /* that of an object with slots */
    if (out->state->kind <= FL_K_NONE ||
        (fl_is_container(out->state) && fl_is_empty(reader, out->state)))
        out->state = NULL;
    else if (out->state->kind == FL_K_DICT &&
             has_dunder(reader, &fl_node_of(reader, out->state)->items))
        return FL_FALLBACK;
    return FL_PLAIN;
}

/* ---- All of them ---- */

int fl_object_read(fl_reader *reader, const fl_value *object, size_t most, fl_value *out)
{
    shape call;
    if (!shape_of(reader, object, &call))
        return FL_FALLBACK;
    if (call.known == FL_O_RECONSTRUCTOR && call.n == 3 && call.args[0].known == FL_O_UUID &&
        call.args[1].known == FL_O_OBJECT)
        return uuid(reader, call.state, out);
    if (call.known == FL_O_UUID)
        return call.n ? FL_FALLBACK : uuid(reader, call.state, out);
    if (call.state->kind > FL_K_NONE)
        return FL_FALLBACK;
    switch (call.known) {
    case FL_O_ENCODE: return encode(reader, &call, most, out);
    case FL_O_BYTES: return bytes(reader, &call, most, out);
    case FL_O_SET: return members(&call, out);
    case FL_O_DATETIME: return datetime(reader, &call, out);
    case FL_O_DECIMAL: /* its text */
        if (call.n != 1 || !fl_is_text(call.args))
            return FL_FALLBACK;
        *out = *call.args;
        return FL_PLAIN;
    default: return FL_FALLBACK;
    }
}
