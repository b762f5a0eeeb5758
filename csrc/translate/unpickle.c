/* unpick.c: one pickle in, its values out; nothing is called. Pure.
 *
 * The twin of fastlog/decode/machine.py and inert.py: both read a pickle to the same values, or
 * reject it for the same reason, so the checks stand in the same order. Only what is larger than
 * the arrays of the reader is FL_FALLBACK.
 *
 * Time is linear in the frame, memory too: nothing is allocated by what the frame announces.
 */
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum {
    INDEX_DIGITS = 6,
    CHUNK = 64 * 1024,
    PROTOCOL = 5,
    NAMES_TIMES = 2, /* characters of globals for each byte of the pickle, */
    NAMES_MORE = 1024,
};

/* The state of one reading. Positions are pointers into the frame. */
typedef struct machine {
    fl_reader *reader;
    const uint8_t *p, *end; /* the next byte; the end of the pickle's frame, or of the pickle */
    const uint8_t *start, *stop;
    fl_value *sp;   /* behind the topmost value */
    fl_value *base; /* the first value behind the last mark */
    fl_value *limit;
    uint32_t marks;
    bool framed;
} machine;

static uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | (uint32_t)p[0];
}

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static uint64_t little64(const uint8_t *p)
{
    return (uint64_t)little32(p + 4) << 32 | little32(p);
}

static size_t left(const machine *m)
{
    return (size_t)(m->end - m->p);
}

static size_t depth(const machine *m)
{
    return (size_t)(m->sp - m->base);
}

uint8_t *fl_reader_scratch(fl_reader *reader, size_t len)
{
    fl_chunk *chunk = reader->scratch;
    if (!chunk || chunk->cap - chunk->used < len) {
        size_t cap = len > CHUNK ? len : CHUNK;
        fl_chunk *fresh = malloc(sizeof *fresh + cap);
        if (!fresh)
            return NULL;
        *fresh = (fl_chunk){.next = chunk, .cap = cap};
        reader->scratch = chunk = fresh;
    }
    chunk->used += len;
    return chunk->data + chunk->used - len;
}

/* Keeps one chunk of the usual size. */
static void forget_scratch(fl_reader *reader)
{
    while (reader->scratch && (reader->scratch->next || reader->scratch->cap > CHUNK)) {
        fl_chunk *chunk = reader->scratch;
        reader->scratch = chunk->next;
        free(chunk);
    }
    if (reader->scratch)
        reader->scratch->used = 0;
}

/* ---- The memo ---- */

static int put(machine *m, size_t index)
{
    fl_reader *reader = m->reader;
    if (m->sp == m->base)
        return FL_UNDERFLOW;
    if (index >= (size_t)(m->stop - m->start) / 2 + 2)
        return FL_MEMO_INDEX;
    if (index >= FL_SLOTS)
        return FL_FALLBACK;
    while (reader->memo_used <= index) {
        reader->memo[reader->memo_used++].kind = FL_K_UNSET;
        reader->holes++;
    }
    reader->holes -= reader->memo[index].kind == FL_K_UNSET;
    reader->memo[index] = m->sp[-1];
    return FL_PLAIN;
}

/* The next slot: no bound but that of our memory, as there are no more puts than bytes. */
static int append(machine *m)
{
    fl_reader *reader = m->reader;
    if (m->sp == m->base)
        return FL_UNDERFLOW;
    if (reader->memo_used == FL_SLOTS)
        return FL_FALLBACK;
    reader->memo[reader->memo_used++] = m->sp[-1];
    return FL_PLAIN;
}

static int get(machine *m, size_t index)
{
    fl_reader *reader = m->reader;
    if (index >= reader->memo_used || reader->memo[index].kind == FL_K_UNSET)
        return FL_MEMO_UNSET;
    *m->sp = reader->memo[index];
    m->sp->fetched = true;
    if (fl_has_node(m->sp))
        reader->nodes[m->sp->at.node].is_met = true;
    m->sp++;
    return FL_PLAIN;
}

/* ---- Values ---- */

static void push(machine *m, uint8_t kind)
{
    *m->sp++ = (fl_value){.kind = kind};
}

static void push_integer(machine *m, int64_t integer)
{
    *m->sp++ = (fl_value){.kind = FL_K_INT, .at.integer = integer};
}

static void push_counted(machine *m, uint8_t kind, size_t len)
{
    *m->sp++ = (fl_value){.kind = kind, .len = (uint32_t)len, .at.text = m->p};
    m->p += len;
}

static int push_text(machine *m, size_t len)
{
    int found = fl_text_check(m->p, len);
    if (found == FL_TEXT_INVALID)
        return FL_NOT_UTF8;
    push_counted(m, found == FL_TEXT_CLEAN ? FL_K_TEXT : FL_K_ODD, len);
    return FL_PLAIN;
}

/* A length of `width` bytes that stands here and fits what is behind it. */
static int counted(machine *m, size_t width, bool is_signed, size_t *len)
{
    if (left(m) < width)
        return FL_CUT;
    uint64_t announced = width == 1 ? m->p[0] : width == 4 ? little32(m->p) : little64(m->p);
    if (is_signed && announced >> 31)
        return FL_NEGATIVE;
    m->p += width;
    if (announced > left(m))
        return FL_CUT;
    *len = (size_t)announced;
    return FL_PLAIN;
}

static int text(machine *m, size_t width)
{
    size_t len;
    int verdict = counted(m, width, false, &len);
    return verdict ? verdict : push_text(m, len);
}

static int bytes(machine *m, size_t width, bool is_signed)
{
    size_t len;
    int verdict = counted(m, width, is_signed, &len);
    if (!verdict)
        push_counted(m, FL_K_BYTES, len);
    return verdict;
}

/* An integer in little-endian two's complement. */
static int binary_long(machine *m, size_t width)
{
    size_t len;
    int verdict = counted(m, width, width > 1, &len);
    if (verdict)
        return verdict;
    if (len == 9 && m->p[8] == 0 && m->p[7] >> 7) {
        *m->sp++ = (fl_value){.kind = FL_K_UINT, .at.natural = little64(m->p)};
        m->p += len;
        return FL_PLAIN;
    }
    if (len > 8) {
        push_counted(m, FL_K_BIG_BYTES, len);
        return FL_PLAIN;
    }
    uint64_t bits = len && m->p[len - 1] >> 7 ? UINT64_MAX : 0;
    for (size_t i = len; i-- > 0;)
        bits = bits << 8 | m->p[i];
    m->p += len;
    push_integer(m, (int64_t)bits);
    return FL_PLAIN;
}

/* The line here: its length without the newline. */
static int line(machine *m, size_t *len)
{
    const uint8_t *newline = memchr(m->p, '\n', left(m));
    if (!newline)
        return FL_CUT;
    *len = (size_t)(newline - m->p);
    return FL_PLAIN;
}

/* The index on the line here: one to six digits. */
static int text_index(machine *m, size_t *index)
{
    size_t len;
    int verdict = line(m, &len);
    if (verdict)
        return verdict;
    if (len < 1 || len > INDEX_DIGITS)
        return FL_MEMO_INDEX;
    *index = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = m->p[i] - (unsigned)'0';
        if (digit > 9)
            return FL_MEMO_INDEX;
        *index = *index * 10 + digit;
    }
    m->p += len + 1;
    return FL_PLAIN;
}

/* Pushes the value that the line here spells. */
static int literal(machine *m, uint8_t opcode)
{
    size_t len;
    fl_value made;
    int verdict = line(m, &len);
    if (verdict)
        return verdict;
    switch (opcode) {
    case 'I': verdict = fl_literal_int(m->p, len, &made); break;
    case 'L': verdict = fl_literal_long(m->p, len, &made); break;
    case 'F': verdict = fl_literal_float(m->p, len, &made); break;
    case 'S': verdict = fl_literal_string(m->reader, m->p, len, &made); break;
    default: verdict = fl_literal_unicode(m->reader, m->p, len, &made);
    }
    if (verdict)
        return verdict;
    *m->sp++ = made;
    m->p += len + 1;
    return FL_PLAIN;
}

static int text_put(machine *m)
{
    size_t index;
    int verdict = text_index(m, &index);
    return verdict ? verdict : put(m, index);
}

static int text_get(machine *m)
{
    size_t index;
    int verdict = text_index(m, &index);
    return verdict ? verdict : get(m, index);
}

static fl_value binary_float(const uint8_t *p)
{
    uint64_t bits = (uint64_t)big32(p) << 32 | big32(p + 4);
    fl_value value = {.kind = FL_K_FLOAT};
    memcpy(&value.at.real, &bits, sizeof bits);
    return value;
}

/* ---- Containers ---- */

/* A new batch of these values; 0: there is no room for it. */
static uint32_t make_batch(fl_reader *reader, const fl_value *values, size_t n)
{
    if (n >= FL_POOL - reader->pool_used)
        return 0;
    uint32_t batch = reader->pool_used;
    reader->pool[batch] = (fl_value){.kind = FL_K_BATCH, .len = (uint32_t)n};
    memcpy(&reader->pool[batch + 1], values, n * sizeof *values);
    reader->pool_used += (uint32_t)n + 1;
    return batch;
}

/* Puts n values, which leave the stack, behind those that there are. */
static int fill(machine *m, fl_items *items, const fl_value *values, size_t n)
{
    fl_reader *reader = m->reader;
    if (!n)
        return FL_PLAIN;
    uint32_t batch = make_batch(reader, values, n);
    if (!batch)
        return FL_FALLBACK;
    if (items->last)
        reader->pool[items->last].at.node = batch;
    else
        items->first = batch;
    items->last = batch;
    items->len += (uint32_t)n;
    return FL_PLAIN;
}

/* A new node; NULL: there is no room for it. */
static fl_node *make_node(machine *m, uint8_t kind, fl_value *out)
{
    fl_reader *reader = m->reader;
    if (reader->nodes_used == FL_NODES)
        return NULL;
    uint32_t index = reader->nodes_used++;
    *out = (fl_value){.kind = kind, .at.node = index};
    reader->nodes[index] = (fl_node){.kind = kind};
    return &reader->nodes[index];
}

/* Counts a container that is made. False: it is one too many. */
static bool has_room(machine *m)
{
    return m->reader->room && m->reader->room--;
}

/* Pushes a new container of these values. */
static int push_container(machine *m, uint8_t kind, const fl_value *values, size_t n)
{
    if (!has_room(m)) {
        push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    fl_value made;
    fl_node *node = make_node(m, kind, &made);
    if (!node || fill(m, &node->items, values, n))
        return FL_FALLBACK;
    *m->sp++ = made;
    return FL_PLAIN;
}

/* Closes the last mark: the values behind it are from *values up to the old top. */
static int collect(machine *m, fl_value **values, size_t *n)
{
    if (!m->marks)
        return FL_UNDERFLOW;
    *values = m->base;
    *n = depth(m);
    m->sp = m->base;
    m->base = m->reader->stack + m->reader->marks[--m->marks];
    return FL_PLAIN;
}

static int mark(machine *m)
{
    if (m->marks == FL_OPEN_MARKS)
        return FL_MARKS;
    m->reader->marks[m->marks++] = (uint32_t)(m->base - m->reader->stack);
    m->base = m->sp;
    return FL_PLAIN;
}

/* The state of an object, which is unset while it has none. */
static fl_value *state_of(const machine *m, const fl_value *object)
{
    return &m->reader->pool[m->reader->nodes[object->at.node].parts + 1 + FL_PART_STATE];
}

static void set_state(machine *m, const fl_value *object, const fl_value *state)
{
    m->reader->may_cycle |= m->reader->nodes[object->at.node].is_met;
    *state_of(m, object) = *state;
}

/* What CPython writes for an object with a setter of its own: setter(object, state), whose result
 * is dropped, on top of the object. */
static void set_by_call(machine *m, const fl_value *result)
{
    const fl_reader *reader = m->reader;
    if (result->kind != FL_K_OBJECT || m->sp == m->base)
        return;
    const fl_value *target = m->sp - 1, *args = &fl_parts_of(reader, result)[FL_PART_ARGS];
    const fl_items *items = &fl_node_of(reader, args)->items;
    const fl_value *given = &reader->pool[items->first + 1];
    if (target->kind == FL_K_OBJECT && args->at.node && items->len == 2 &&
        given[0].kind == FL_K_OBJECT && given[0].at.node == target->at.node &&
        state_of(m, target)->kind == FL_K_UNSET)
        set_state(m, target, &given[1]);
}

static int pop(machine *m, bool whole_mark)
{
    fl_value *values;
    size_t n;
    if (whole_mark || m->sp == m->base)
        return collect(m, &values, &n);
    m->sp--;
    set_by_call(m, m->sp);
    return FL_PLAIN;
}

/* Moves n values, which lie behind the topmost one, into it. */
static int extend(machine *m, uint8_t kind, const fl_value *values, size_t n)
{
    if (m->sp == m->base)
        return FL_UNDERFLOW;
    const fl_value *target = m->sp - 1;
    if (kind == FL_K_DICT && n % 2)
        return FL_ODD_PAIRS;
    if (target->kind == FL_K_OVERFLOW)
        return FL_PLAIN;
    bool is_object = target->kind == FL_K_OBJECT && kind != FL_K_SET;
    if (target->kind != kind && !is_object)
        return kind == FL_K_LIST ? FL_NO_LIST : kind == FL_K_DICT ? FL_NO_DICT : FL_NO_SET;
    fl_node *node = &m->reader->nodes[target->at.node];
    m->reader->may_cycle |= node->is_met;
    return fill(m, is_object && kind == FL_K_DICT ? &node->pairs : &node->items, values, n);
}

static int extend_by_one(machine *m, uint8_t kind, size_t n)
{
    if (depth(m) < n)
        return FL_UNDERFLOW;
    m->sp -= n;
    return extend(m, kind, m->sp, n);
}

static int extend_by_many(machine *m, uint8_t kind)
{
    fl_value *values;
    size_t n;
    int verdict = collect(m, &values, &n);
    return verdict ? verdict : extend(m, kind, values, n);
}

static int tuple(machine *m, size_t n)
{
    if (depth(m) < n)
        return FL_UNDERFLOW;
    m->sp -= n;
    return push_container(m, FL_K_TUPLE, m->sp, n);
}

static int of_mark(machine *m, uint8_t kind)
{
    fl_value *values;
    size_t n;
    int verdict = collect(m, &values, &n);
    if (!verdict && kind == FL_K_DICT && n % 2)
        return FL_ODD_PAIRS;
    return verdict ? verdict : push_container(m, kind, values, n);
}

/* ---- Objects ---- */

static int name_line(machine *m, fl_value *out)
{
    size_t len;
    int verdict = line(m, &len);
    if (verdict)
        return verdict;
    *out = (fl_value){.kind = FL_K_TEXT, .len = (uint32_t)len, .at.text = m->p};
    m->p += len + 1;
    return FL_PLAIN;
}

/* Pushes the global of this module and name: "protocol:module:name". Both may have come out of the
 * memo, so their characters are counted. */
static int push_global(machine *m, const fl_value *module, const fl_value *name)
{
    size_t characters = FL_NAME_CHARACTERS, more = FL_NAME_CHARACTERS;
    size_t module_len = fl_text_head(module->at.text, module->len, &characters);
    size_t name_len = fl_text_head(name->at.text, name->len, &more);
    characters += more;
    if (!has_room(m) || characters > m->reader->names) {
        push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    m->reader->names -= characters;
    size_t head = FL_GLOBAL_HEAD, len = head + module_len + 1 + name_len;
    uint8_t *text = fl_reader_scratch(m->reader, len);
    if (!text)
        return FL_ENOMEM;
    text[0] = (uint8_t)('0' + m->reader->protocol);
    text[1] = ':';
    memcpy(text + head, module->at.text, module_len);
    text[head + module_len] = ':';
    memcpy(text + head + module_len + 1, name->at.text, name_len);
    fl_value dotted = {.len = (uint32_t)(len - head), .at.text = text + head};
    *m->sp++ = (fl_value){.kind = FL_K_GLOBAL,
                          .known = fl_object_known(&dotted, m->reader->protocol),
                          .len = (uint32_t)len,
                          .at.text = text};
    return FL_PLAIN;
}

static int global(machine *m)
{
    fl_value module, name;
    int verdict = name_line(m, &module);
    if (!verdict)
        verdict = name_line(m, &name);
    if (verdict)
        return verdict;
    if (fl_text_check(module.at.text, module.len) == FL_TEXT_INVALID ||
        fl_text_check(name.at.text, name.len) == FL_TEXT_INVALID)
        return FL_NOT_UTF8;
    return push_global(m, &module, &name);
}

static int stack_global(machine *m)
{
    if (depth(m) < 2)
        return FL_UNDERFLOW;
    m->sp -= 2;
    fl_value module = m->sp[0], name = m->sp[1];
    return fl_is_str(&module) && fl_is_str(&name) ? push_global(m, &module, &name) : FL_NO_NAME;
}

/* Pushes what factory(*args, **kwargs) would be. */
static int call(machine *m, fl_value factory, fl_value args, fl_value kwargs)
{
    if (factory.kind != FL_K_GLOBAL && factory.kind != FL_K_OBJECT && factory.kind != FL_K_OVERFLOW)
        return FL_NO_GLOBAL;
    if (args.kind == FL_K_OVERFLOW) {
        fl_value overflow = args;
        fl_node *node = make_node(m, FL_K_TUPLE, &args);
        if (!node || fill(m, &node->items, &overflow, 1))
            return FL_FALLBACK;
    }
    if (kwargs.kind == FL_K_OVERFLOW)
        kwargs.kind = FL_K_NONE;
    if (args.kind != FL_K_TUPLE || (kwargs.kind != FL_K_NONE && kwargs.kind != FL_K_DICT))
        return FL_NO_ARGUMENTS;
    if (!has_room(m)) {
        push(m, FL_K_OVERFLOW);
        return FL_PLAIN;
    }
    const fl_value parts[FL_PARTS] = {factory, args, kwargs, {.kind = FL_K_UNSET}};
    fl_value made;
    fl_node *node = make_node(m, FL_K_OBJECT, &made);
    if (!node || !(node->parts = make_batch(m->reader, parts, FL_PARTS)))
        return FL_FALLBACK;
    *m->sp++ = made;
    return FL_PLAIN;
}

static const fl_value NO_KWARGS = {.kind = FL_K_NONE};

static int reduce(machine *m)
{
    if (depth(m) < 2)
        return FL_UNDERFLOW;
    m->sp -= 2;
    return call(m, m->sp[0], m->sp[1], NO_KWARGS);
}

static int newobj_ex(machine *m)
{
    if (depth(m) < 3)
        return FL_UNDERFLOW;
    m->sp -= 3;
    return call(m, m->sp[0], m->sp[1], m->sp[2]);
}

/* OBJ: the class lies before its arguments; INST: it stands behind the opcode. */
static int inst(machine *m, bool has_name)
{
    fl_value *values, args, factory;
    size_t n;
    int verdict = collect(m, &values, &n);
    if (verdict)
        return verdict;
    if (!has_name && !n)
        return FL_UNDERFLOW;
    if (!has_name) {
        factory = *values++;
        n--;
    }
    fl_node *node = make_node(m, FL_K_TUPLE, &args);
    if (!node || fill(m, &node->items, values, n))
        return FL_FALLBACK;
    if (has_name) {
        verdict = global(m);
        if (verdict)
            return verdict;
        factory = *--m->sp;
    }
    return call(m, factory, args, NO_KWARGS);
}

static int build(machine *m)
{
    if (depth(m) < 2)
        return FL_UNDERFLOW;
    m->sp--;
    const fl_value *target = m->sp - 1;
    if (target->kind == FL_K_OVERFLOW)
        return FL_PLAIN;
    if (target->kind != FL_K_OBJECT)
        return FL_NO_OBJECT;
    set_state(m, target, m->sp);
    return FL_PLAIN;
}

/* ---- The framework ---- */

static int protocol(machine *m, uint8_t version)
{
    if (version > PROTOCOL)
        return FL_PROTOCOL;
    if (version > m->reader->protocol)
        m->reader->protocol = version;
    return FL_PLAIN;
}

static int frame(machine *m)
{
    if (m->framed)
        return FL_NESTED_FRAME;
    if (left(m) < 8)
        return FL_CUT;
    uint64_t len = little64(m->p);
    m->p += 8;
    if (len < 1 || len > left(m))
        return FL_FRAME_LENGTH;
    m->end = m->p + len;
    m->framed = true;
    return FL_PLAIN;
}

static int stop(machine *m, fl_value *out)
{
    if (m->p != m->stop)
        return FL_TRAILING;
    if (m->marks)
        return FL_OPEN_MARK;
    if (depth(m) != 1)
        return FL_NOT_ONE;
    *out = m->sp[-1];
    return FL_PLAIN;
}

/* One opcode with its argument. */
static int step(machine *m, uint8_t opcode)
{
    switch (opcode) {
    case 0x80: /* PROTO */
        if (!left(m))
            return FL_CUT;
        return protocol(m, *m->p++);
    case 0x95: return frame(m);
    case '(': return mark(m);
    case 0x94: /* MEMOIZE */
        return m->reader->holes ? put(m, m->reader->memo_used - m->reader->holes) : append(m);
    case 'q': /* BINPUT, but not into the next slot */ m->p++; return put(m, m->p[-1]);
    case 'r': /* LONG_BINPUT */
        if (left(m) < 4)
            return FL_CUT;
        m->p += 4;
        return put(m, little32(m->p - 4));
    case 'h': /* BINGET */
        if (!left(m))
            return FL_CUT;
        return get(m, *m->p++);
    case 'j': /* LONG_BINGET */
        if (left(m) < 4)
            return FL_CUT;
        m->p += 4;
        return get(m, little32(m->p - 4));
    case 0x88: push(m, FL_K_TRUE); return FL_PLAIN;
    case 0x89: push(m, FL_K_FALSE); return FL_PLAIN;
    case 'J': /* BININT */
        if (left(m) < 4)
            return FL_CUT;
        m->p += 4;
        push_integer(m, (int32_t)little32(m->p - 4));
        return FL_PLAIN;
    case 'I':
    case 'L':
    case 'F':
    case 'S':
    case 'V': return literal(m, opcode);
    case 0x8a: return binary_long(m, 1);
    case 0x8b: return binary_long(m, 4);
    case 'T': return bytes(m, 4, true);
    case 'C': return bytes(m, 1, false);
    case 'B': return bytes(m, 4, false);
    case 0x8e: return bytes(m, 8, false);
    case 0x96: return bytes(m, 8, false);
    case 0x8d: return text(m, 8);
    case 'p': return text_put(m);
    case 'g': return text_get(m);
    case ')': push(m, FL_K_TUPLE); return FL_PLAIN;
    case ']': return push_container(m, FL_K_LIST, NULL, 0);
    case '}': return push_container(m, FL_K_DICT, NULL, 0);
    case 0x8f: return push_container(m, FL_K_SET, NULL, 0);
    case 't':
    case 0x91: /* FROZENSET */ return of_mark(m, FL_K_TUPLE);
    case 'l': return of_mark(m, FL_K_LIST);
    case 'd': return of_mark(m, FL_K_DICT);
    case 0x85: return tuple(m, 1);
    case 0x86: return tuple(m, 2);
    case 0x87: return tuple(m, 3);
    case 'a': return extend_by_one(m, FL_K_LIST, 1);
    case 'e': return extend_by_many(m, FL_K_LIST);
    case 's': return extend_by_one(m, FL_K_DICT, 2);
    case 'u': return extend_by_many(m, FL_K_DICT);
    case 0x90: return extend_by_many(m, FL_K_SET);
    case 'c': return global(m);
    case 0x93: return stack_global(m);
    case 'R': return reduce(m);
    case 0x81: return reduce(m);
    case 0x92: return newobj_ex(m);
    case 'o': return inst(m, false);
    case 'i': return inst(m, true);
    case 'b': return build(m);
    case '0': return pop(m, false);
    case '1': return pop(m, true);
    case '2': return FL_DUP;
    case 'P': return FL_PERSID;
    case 'Q': return FL_BINPERSID;
    case 0x82: return FL_EXT1;
    case 0x83: return FL_EXT2;
    case 0x84: return FL_EXT4;
    case 0x97: return FL_NEXT_BUFFER;
    case 0x98: return FL_READONLY_BUFFER;
    default: return FL_OPCODE;
    }
}

/* Whether all bytes are from 1 to 7F. */
static inline bool is_plain(const uint8_t *p, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t word, last;
    if (len >= 8) {
        memcpy(&last, p + len - 8, 8);
        word = (last - ones) | last;
        for (; len > 8; p += 8, len -= 8) {
            memcpy(&last, p, 8);
            word |= (last - ones) | last;
            if (len < 16)
                break;
        }
        return !(word & highs);
    }
    if (len >= 4) { /* the two halves overlap */
        uint32_t begin, end;
        memcpy(&begin, p, 4);
        memcpy(&end, p + len - 4, 4);
        word = (uint64_t)begin << 32 | end;
        return !(((word - ones) | word) & highs);
    }
    for (size_t i = 0; i < len; i++)
        if (p[i] - 1u > 0x7E)
            return false;
    return true;
}

/* The loop does by itself what makes up nearly all of a record, on copies of p and sp that the
 * compiler can keep in registers; all else is a step. */
static int run(machine *m, fl_value *out)
{
    fl_reader *reader = m->reader;
    const uint8_t *p = m->p, *end = m->end;
    fl_value *sp = m->sp;
    fl_value made = {0}; /* a text or bytes */
    size_t len;
    int verdict;

    for (;;) {
        if (p == end) {
            if (end == m->stop)
                return FL_NO_STOP;
            end = m->end = m->stop;
            m->framed = false;
        }
        if (sp == m->limit) /* no opcode pushes more than one value */
            return FL_FALLBACK;
        switch (*p) {
        case 'X': /* BINUNICODE */
            if (end - p < 5)
                return FL_CUT;
            len = little32(p + 1);
            p += 5;
            goto text;
        case 0x8c: /* SHORT_BINUNICODE */
            if (end - p < 2)
                return FL_CUT;
            len = p[1];
            p += 2;
        text:
            if ((size_t)(end - p) < len)
                return FL_CUT;
            made.kind = FL_K_TEXT;
            if (!is_plain(p, len)) {
                int found = fl_text_check(p, len);
                if (found == FL_TEXT_INVALID)
                    return FL_NOT_UTF8;
                made.kind = found == FL_TEXT_CLEAN ? FL_K_TEXT : FL_K_ODD;
            }
        counted:
            made.len = (uint32_t)len;
            made.at.text = p;
            *sp++ = made;
            p += len;
            if (end - p < 2 || *p != 'q' || p[1] != reader->memo_used)
                continue;
            reader->memo[reader->memo_used++] = made; /* to read it back now would be a stall */
            p += 2;
            continue;
        case 'q': /* BINPUT */
            if (end - p < 2)
                return FL_CUT;
            if (p[1] != reader->memo_used) /* which is below FL_SLOTS */
                break;
            if (sp == m->base)
                return FL_UNDERFLOW;
            reader->memo[reader->memo_used++] = sp[-1];
            p += 2;
            continue;
        case 'U': /* SHORT_BINSTRING */
            if (end - p < 2)
                return FL_CUT;
            len = p[1];
            p += 2;
            if ((size_t)(end - p) < len)
                return FL_CUT;
            made.kind = FL_K_BYTES;
            goto counted;
        case 'N':
            *sp++ = (fl_value){.kind = FL_K_NONE};
            p++;
            continue;
        case 'K': /* BININT1 */
            if (end - p < 2)
                return FL_CUT;
            *sp++ = (fl_value){.kind = FL_K_INT, .at.integer = p[1]};
            p += 2;
            continue;
        case 'M': /* BININT2 */
            if (end - p < 3)
                return FL_CUT;
            *sp++ = (fl_value){.kind = FL_K_INT, .at.integer = p[1] | p[2] << 8};
            p += 3;
            continue;
        case 'G': /* BINFLOAT */
            if (end - p < 9)
                return FL_CUT;
            *sp++ = binary_float(p + 1);
            p += 9;
            continue;
        case '.':
            m->p = p + 1;
            m->sp = sp;
            return stop(m, out);
        }
        m->p = p + 1;
        m->sp = sp;
        if ((verdict = step(m, *p)))
            return verdict;
        p = m->p;
        end = m->end;
        sp = m->sp;
    }
}

int fl_reader_read(fl_reader *reader, const uint8_t *data, size_t len, fl_value *out)
{
    machine m = {.reader = reader,
                 .p = data,
                 .end = data + len,
                 .start = data,
                 .stop = data + len,
                 .sp = reader->stack,
                 .base = reader->stack,
                 .limit = reader->stack + FL_SLOTS};
    reader->pool_used = reader->nodes_used = 1; /* 0 is no batch, and the empty tuple */
    reader->memo_used = reader->holes = 0;
    reader->room = FL_CONTAINERS;
    reader->names = NAMES_TIMES * len + NAMES_MORE;
    reader->protocol = 0;
    reader->may_cycle = false;
    forget_scratch(reader);
    return run(&m, out);
}
