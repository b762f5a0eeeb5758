/* objects.c: what objects stand for. Pure.
 *
 * The twin of fastlog/decode/objects.py for what log records have every day, in the shapes that the
 * picklers of CPython give it. Each shape is matched exactly, by the names and the arguments;
 * nothing is called. A well-known class in another shape is for the Python reader; of an object of
 * any other class, the class, the arguments and the state are kept as they came.
 */
#include "repack.h"

#include <string.h>

enum { NAME_LENGTH = 256, PATH_PARTS = 256, PATH_LENGTH = 4096, STATE_LENGTH = 32, MOMENT = 48 };

#define DAY INT64_C(86400)
#define MILLION INT64_C(1000000)

static const struct {
    const char *from, *to;
} MODULES[] = {{"__builtin__", "builtins"},
               {"exceptions", "builtins"},
               {"copy_reg", "copyreg"},
               {"pathlib._local", "pathlib"}};

static const struct {
    const char *name;
    uint8_t known;
} KNOWN[] = {
    {"_codecs.encode", FL_O_ENCODE},
    {"builtins.bytes", FL_O_BYTES},
    {"builtins.bytearray", FL_O_BYTEARRAY},
    {"builtins.set", FL_O_SET},
    {"builtins.frozenset", FL_O_SET},
    {"builtins.object", FL_O_OBJECT},
    {"collections.OrderedDict", FL_O_DICT},
    {"collections.Counter", FL_O_DICT},
    {"collections.defaultdict", FL_O_DEFAULTDICT},
    {"copyreg._reconstructor", FL_O_RECONSTRUCTOR},
    {"datetime.datetime", FL_O_DATETIME},
    {"datetime.date", FL_O_DATE},
    {"datetime.time", FL_O_TIME},
    {"datetime.timedelta", FL_O_TIMEDELTA},
    {"datetime.timezone", FL_O_TIMEZONE},
    {"dateutil.tz.tz.tzutc", FL_O_UTC},
    {"pytz._UTC", FL_O_UTC},
    {"decimal.Decimal", FL_O_DECIMAL},
    {"uuid.UUID", FL_O_UUID},
    {"pathlib.PosixPath", FL_O_PATH},
    {"pathlib.PurePosixPath", FL_O_PATH},
    {"http.HTTPStatus", FL_O_VALUE},
    {"http.HTTPMethod", FL_O_VALUE},
    {"signal.Signals", FL_O_VALUE},
    {"builtins.tuple", FL_O_TUPLE},
    {"builtins.list", FL_O_STRANGE},
    {"builtins.dict", FL_O_STRANGE},
    {"builtins.str", FL_O_STRANGE},
    {"builtins.unicode", FL_O_STRANGE},
    {"cdecimal.Decimal", FL_O_STRANGE},
    {"collections.deque", FL_O_STRANGE},
    {"copyreg.__newobj__", FL_O_STRANGE},
    {"copyreg.__newobj_ex__", FL_O_STRANGE},
    {"pathlib.WindowsPath", FL_O_STRANGE},
    {"pathlib.PureWindowsPath", FL_O_STRANGE},
    {"socket.AddressFamily", FL_O_STRANGE},
    {"socket.SocketKind", FL_O_STRANGE},
};

static bool equals(const fl_value *value, const char *text)
{
    return value->len == strlen(text) && memcmp(value->at.text, text, value->len) == 0;
}

int fl_object_global(fl_reader *reader, const fl_value *module, const fl_value *name, fl_value *out)
{
    const uint8_t *first = module->at.text;
    size_t len = module->len;

    *out = (fl_value){.kind = FL_K_GLOBAL};
    if (len > NAME_LENGTH || name->len > NAME_LENGTH)
        return FL_FOREIGN;
    for (size_t i = 0; i < sizeof MODULES / sizeof *MODULES; i++)
        if (equals(module, MODULES[i].from)) {
            first = (const uint8_t *)MODULES[i].to;
            len = strlen(MODULES[i].to);
        }
    uint8_t *dotted = fl_reader_scratch(reader, len + 1 + name->len);
    if (!dotted)
        return FL_ENOMEM;
    memcpy(dotted, first, len);
    dotted[len] = '.';
    memcpy(dotted + len + 1, name->at.text, name->len);
    out->len = (uint32_t)(len + 1 + name->len);
    out->at.text = dotted;
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (equals(out, KNOWN[i].name))
            out->object = KNOWN[i].known;
    if (equals(name, "getattr")) /* of a class: how methods, and members of an Enum, are named */
        out->object = FL_O_STRANGE;
    return FL_PLAIN;
}

/* ---- Texts, bytes, containers ---- */

static bool is_str(const fl_value *value)
{
    return (value->kind == FL_K_TEXT || value->kind == FL_K_ODD) && !value->object;
}

/* _codecs.encode(text, "latin1"): the bytes of a Python 3 that speaks protocol 2 or less. */
static int encode(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    if (n != 2 || !is_str(&args[0]) || !is_str(&args[1]) ||
        !(equals(&args[1], "latin1") || equals(&args[1], "latin-1")))
        return FL_FOREIGN;
    const uint8_t *text = args[0].at.text;
    uint8_t *made = fl_reader_scratch(reader, args[0].len);
    if (!made)
        return FL_ENOMEM;
    size_t len = 0;
    for (size_t at = 0; at < args[0].len; at++) {
        uint8_t byte = text[at];
        if (byte >= 0x80) {
            if (byte > 0xC3) /* C2 and C3 begin U+0080 to U+00FF */
                return FL_FOREIGN;
            byte = (uint8_t)(byte << 6 | (text[++at] & 0x3F));
        }
        made[len++] = byte;
    }
    *out = (fl_value){.kind = FL_K_BYTES, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
}

static int bytes(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    if (n > 1)
        return encode(reader, args, n, out);
    *out = (fl_value){.kind = FL_K_BYTES, .at.text = (const uint8_t *)""};
    if (!n)
        return FL_PLAIN;
    if (args[0].kind != FL_K_BYTES || (args[0].object && args[0].object != FL_O_ENCODE))
        return FL_FOREIGN;
    *out = args[0];
    return FL_PLAIN;
}

static int members(const fl_value *args, size_t n, fl_value *out)
{
    *out = (fl_value){.kind = FL_K_LIST};
    if (!n)
        return FL_PLAIN;
    if (n > 1 || args[0].object || (args[0].kind != FL_K_LIST && args[0].kind != FL_K_TUPLE))
        return FL_FOREIGN;
    *out = args[0];
    out->kind = FL_K_LIST;
    return FL_PLAIN;
}

static int dict(const fl_value *args, size_t n, fl_value *out)
{
    *out = (fl_value){.kind = FL_K_DICT};
    if (!n)
        return FL_PLAIN;
    if (n > 1 || args[0].object || args[0].kind != FL_K_DICT)
        return FL_FOREIGN;
    *out = args[0];
    return FL_PLAIN;
}

static int default_dict(const fl_value *args, size_t n, fl_value *out)
{
    *out = (fl_value){.kind = FL_K_DICT};
    return !n || (n == 1 && args[0].kind == FL_K_GLOBAL) ? FL_PLAIN : FL_FOREIGN;
}

/* Decimal("1.50"): its text. */
static int decimal(const fl_value *args, size_t n, fl_value *out)
{
    if (n != 1 || args[0].object || !fl_is_text(&args[0]))
        return FL_FOREIGN;
    *out = args[0];
    return FL_PLAIN;
}

/* A member of an Enum of the standard library: its value. */
static int member(const fl_value *args, size_t n, fl_value *out)
{
    if (n != 1 || args[0].object || !(args[0].kind == FL_K_INT || is_str(&args[0])))
        return FL_FOREIGN;
    *out = args[0];
    return FL_PLAIN;
}

/* The parts of a path, joined as posixpath.join() does. */
static int path(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    size_t most = 0;
    if (n > PATH_PARTS)
        return FL_FOREIGN;
    for (size_t i = 0; i < n; i++) {
        if (args[i].kind != FL_K_TEXT || args[i].object)
            return FL_FOREIGN;
        most += args[i].len + 1;
    }
    if (most > PATH_LENGTH)
        return FL_FOREIGN;
    uint8_t *made = fl_reader_scratch(reader, most + 1);
    if (!made)
        return FL_ENOMEM;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (args[i].len && args[i].at.text[0] == '/')
            len = 0;
        else if (len && made[len - 1] != '/')
            made[len++] = '/';
        memcpy(made + len, args[i].at.text, args[i].len);
        len += args[i].len;
    }
    if (!n)
        made[len++] = '.';
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
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

/* The packed state of a moment, from any Python: `len` bytes. */
static const uint8_t *packed(const fl_value *args, size_t n, size_t most, size_t len)
{
    if (n < 1 || n > most || args[0].kind != FL_K_BYTES || args[0].len != len)
        return NULL;
    return args[0].object && args[0].object != FL_O_ENCODE ? NULL : args[0].at.text;
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

static int text_of(fl_reader *reader, const char *text, const char *end, fl_value *out)
{
    size_t len = (size_t)(end - text);
    uint8_t *made = fl_reader_scratch(reader, len);
    if (!made)
        return FL_ENOMEM;
    memcpy(made, text, len);
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = made};
    return FL_PLAIN;
}

/* The zone behind a moment's state: none, or one whose offset is known. */
static bool has_zone(const fl_value *args, size_t n)
{
    return n == 2 && args[1].kind == FL_K_ZONE;
}

static bool zone_is_strange(const fl_value *args, size_t n)
{
    return n == 2 && args[1].kind != FL_K_ZONE && args[1].kind != FL_K_NONE;
}

static int datetime(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    const uint8_t *raw = packed(args, n, 2, 10);
    if (!raw || zone_is_strange(args, n))
        return FL_FOREIGN;
    unsigned year = (unsigned)raw[0] << 8 | raw[1], month = raw[2] & 0x7F; /* the top bit: fold */
    if (!is_date(year, month, raw[3]) || !is_time(raw + 4))
        return FL_FOREIGN;
    char text[MOMENT], *to = put_date(text, year, month, raw[3]);
    *to++ = 'T';
    to = put_time(to, raw + 4, big24(raw + 7));
    if (has_zone(args, n))
        to = put_zone(to, args[1].at.integer);
    return text_of(reader, text, to, out);
}

static int date(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    const uint8_t *raw = packed(args, n, 1, 4);
    if (!raw)
        return FL_FOREIGN;
    unsigned year = (unsigned)raw[0] << 8 | raw[1];
    if (!is_date(year, raw[2], raw[3]))
        return FL_FOREIGN;
    char text[MOMENT];
    return text_of(reader, text, put_date(text, year, raw[2], raw[3]), out);
}

static int time_of_day(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    const uint8_t *raw = packed(args, n, 2, 6);
    if (!raw || zone_is_strange(args, n))
        return FL_FOREIGN;
    uint8_t state[6];
    memcpy(state, raw, sizeof state);
    state[0] &= 0x7F; /* the top bit: fold */
    if (!is_time(state))
        return FL_FOREIGN;
    char text[MOMENT], *to = put_time(text, state, big24(state + 3));
    if (has_zone(args, n))
        to = put_zone(to, args[1].at.integer);
    return text_of(reader, text, to, out);
}

static int delta(const fl_value *args, size_t n, fl_value *out)
{
    const int64_t days = 100 * MILLION; /* their microseconds fit 64 bits */
    if (n != 3)
        return FL_FOREIGN;
    for (size_t i = 0; i < n; i++)
        if (args[i].kind != FL_K_INT || args[i].object)
            return FL_FOREIGN;
    int64_t day = args[0].at.integer, second = args[1].at.integer, micro = args[2].at.integer;
    if (day < -days || day > days || second < 0 || second >= DAY || micro < 0 || micro >= MILLION)
        return FL_FOREIGN;
    *out = (fl_value){.kind = FL_K_DELTA, .at.integer = (day * DAY + second) * MILLION + micro};
    return FL_PLAIN;
}

size_t fl_object_delta(int64_t microseconds, char out[FL_DELTA_TEXT])
{
    int64_t whole = DAY * MILLION, days = microseconds / whole, rest = microseconds % whole;
    char *to = out;
    if (rest < 0) {
        rest += whole;
        days--;
    }
    if (days) {
        const char *unit = days == 1 || days == -1 ? " day, " : " days, ";
        to += fl_integer_write(days, to);
        memcpy(to, unit, strlen(unit));
        to += strlen(unit);
    }
    int64_t seconds = rest / MILLION;
    const uint8_t hms[] = {(uint8_t)(seconds / 3600), (uint8_t)(seconds / 60 % 60),
                           (uint8_t)(seconds % 60)};
    char *end = put_time(to, hms, (uint32_t)(rest % MILLION));
    if (hms[0] < 10) { /* str() gives hours no leading zero */
        memmove(to, to + 1, (size_t)(end - to - 1));
        end--;
    }
    return (size_t)(end - out);
}

static int zone(const fl_value *args, size_t n, fl_value *out)
{
    if (n < 1 || n > 2 || args[0].kind != FL_K_DELTA)
        return FL_FOREIGN;
    int64_t east = args[0].at.integer;
    if (east % MILLION || east <= -DAY * MILLION || east >= DAY * MILLION)
        return FL_FOREIGN;
    *out = (fl_value){.kind = FL_K_ZONE, .at.integer = east / MILLION};
    return FL_PLAIN;
}

/* ---- Objects of other classes ---- */

static const fl_value NOTHING = {.kind = FL_K_TUPLE};

/* An object that was made of this class and these arguments, a tuple. */
static int other(fl_reader *reader, const fl_value *class, const fl_value *args, fl_value *out)
{
    if (class->object)
        return FL_FOREIGN;
    const fl_value parts[FL_OBJECT_PARTS] = {[FL_OBJECT_CLASS] = *class, [FL_OBJECT_ARGS] = *args};
    *out = (fl_value){.kind = FL_K_OBJECT};
    return fl_reader_batch(reader, parts, FL_OBJECT_PARTS, &out->at.items.first);
}

/* How protocol 1 spells an object: its class, the class of C below it, and what that one holds. */
static int reconstructor(fl_reader *reader, const fl_value *args, size_t n, fl_value *out)
{
    if (n != 3 || args[0].kind != FL_K_GLOBAL || args[1].kind != FL_K_GLOBAL)
        return FL_FOREIGN;
    const fl_value *class = &args[0], *value = &args[2];
    if (args[1].object == FL_O_OBJECT) {
        if (class->object != FL_O_UUID)
            return other(reader, class, &NOTHING, out);
        *out = (fl_value){.kind = FL_K_UUID};
        return FL_PLAIN;
    }
    if (args[1].object == FL_O_TUPLE && value->kind == FL_K_TUPLE && !value->object)
        return other(reader, class, value, out);
    fl_value held = {.kind = FL_K_TUPLE, .len = 1};
    int verdict = fl_reader_batch(reader, value, 1, &held.at.items.first);
    return verdict ? verdict : other(reader, class, &held, out);
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
    if (value->object)
        return false;
    if (value->kind == FL_K_BIG_DIGITS)
        return number_of_digits(value, out);
    if (value->kind == FL_K_BIG_BYTES)
        return number_of_bytes(value, out);
    if (!(value->kind == FL_K_INT && value->at.integer >= 0) && value->kind != FL_K_UINT)
        return false;
    *out = (number){{(uint32_t)value->at.natural, (uint32_t)(value->at.natural >> 32)}};
    return true;
}

static int build_uuid(fl_reader *reader, const fl_value *state, fl_value *object)
{
    number found;
    if (object->kind != FL_K_UUID || state->kind != FL_K_DICT || state->object ||
        state->len > STATE_LENGTH)
        return FL_FOREIGN;
    fl_walk walk = fl_walk_over(reader, state);
    for (const fl_value *key; (key = fl_walk_next(&walk));) {
        const fl_value *value = fl_walk_next(&walk);
        if (!fl_is_text(key) || key->object)
            return FL_FOREIGN;
        if (!equals(key, "int"))
            continue;
        if (!number_of(value, &found))
            return FL_FOREIGN;
        char text[36], *to = text;
        for (int nibble = 31; nibble >= 0; nibble--) {
            *to++ = "0123456789abcdef"[found.words[nibble / 8] >> 4 * (nibble % 8) & 15];
            if (nibble == 24 || nibble == 20 || nibble == 16 || nibble == 12)
                *to++ = '-';
        }
        int verdict = text_of(reader, text, to, object);
        object->object = FL_O_UUID;
        return verdict;
    }
    return FL_FOREIGN;
}

/* ---- All of them ---- */

int fl_object_build(fl_reader *reader, const fl_value *state, fl_value *object)
{
    if (object->kind != FL_K_OBJECT)
        return build_uuid(reader, state, object);
    if (state->kind == FL_K_TUPLE) /* that of an object with slots */
        return FL_FOREIGN;
    reader->pool[object->at.items.first + 1 + FL_OBJECT_STATE] = *state;
    return FL_PLAIN;
}

static int make(fl_reader *reader, uint8_t known, const fl_value *args, size_t n, fl_value *out)
{
    switch (known) {
    case FL_O_ENCODE: return encode(reader, args, n, out);
    case FL_O_BYTES:
    case FL_O_BYTEARRAY: return bytes(reader, args, n, out);
    case FL_O_SET: return members(args, n, out);
    case FL_O_DICT: return dict(args, n, out);
    case FL_O_DEFAULTDICT: return default_dict(args, n, out);
    case FL_O_DATETIME: return datetime(reader, args, n, out);
    case FL_O_DATE: return date(reader, args, n, out);
    case FL_O_TIME: return time_of_day(reader, args, n, out);
    case FL_O_TIMEDELTA: return delta(args, n, out);
    case FL_O_TIMEZONE: return zone(args, n, out);
    case FL_O_UTC: *out = (fl_value){.kind = FL_K_ZONE}; return FL_PLAIN;
    case FL_O_DECIMAL: return decimal(args, n, out);
    case FL_O_UUID: *out = (fl_value){.kind = FL_K_UUID}; return n ? FL_FOREIGN : FL_PLAIN;
    case FL_O_RECONSTRUCTOR: return reconstructor(reader, args, n, out);
    case FL_O_PATH: return path(reader, args, n, out);
    case FL_O_VALUE: return member(args, n, out);
    default: return FL_FOREIGN;
    }
}

int fl_object_call(fl_reader *reader, const fl_value *factory, const fl_value *args, fl_value *out)
{
    const fl_value *values = &reader->pool[args->at.items.first] + 1;
    *out = (fl_value){.kind = FL_K_NONE};
    int verdict = factory->object ? make(reader, factory->object, values, args->len, out)
                                  : other(reader, factory, args, out);
    out->object = factory->object ? factory->object : FL_O_OTHER;
    return verdict;
}
