/* tree.c: what was read of a pickle, as an inert tree in the translation. Pure.
 *
 * fastlog/decode/nodes.py has the form of a tree: built-in types of Python only, so that data
 * opcodes can say it. All containers and objects are made first, empty, in the memo; then each is
 * filled, with references to the others. So nothing recurses, what was met twice is written once,
 * and a cycle is no special case. A text that came out of the memo is written once as well: the
 * tree is never much larger than the frame.
 */
#include "opcodes.h"
#include "row.h"

/* An integer that is longer is cut to its first digits, or its most significant bytes. */
enum {
    LEAST_WRITTEN = 64,
    LONG1_MOST = 255,
    HUGE_DIGITS = 4096,
    HUGE_BYTES = 1700,
    HEAD_DIGITS = 32,
    HEAD_BYTES = 16
};

typedef struct tree {
    fl_row *row;
    const fl_reader *reader;
    fl_bytes *out;
} tree;

static void put(tree *t, const void *data, size_t len)
{
    fl_bytes_add(t->out, data, len);
}

static void put_byte(tree *t, uint8_t byte)
{
    put(t, &byte, 1);
}

static void put_end(tree *t, const uint8_t *begin, const uint8_t *end)
{
    put(t, begin, (size_t)(end - begin));
}

static void put_get(tree *t, uint32_t memo)
{
    uint8_t op[FL_OPCODE_MOST];
    put_end(t, op, fl_op_get(op, memo));
}

static uint32_t memoize(tree *t)
{
    put_byte(t, 0x94);
    return t->row->memo.next++;
}

/* The name of a part. It stands once in the block. */
static void put_name(tree *t, enum fl_tree_name name)
{
    static const char *const NAMES[] = {
        [FL_NAME_PAIRS] = "pairs",   [FL_NAME_CLASS] = "class", [FL_NAME_ARGS] = "args",
        [FL_NAME_KWARGS] = "kwargs", [FL_NAME_ITEMS] = "items", [FL_NAME_STATE] = "state",
        [FL_NAME_GLOBAL] = "global", [FL_NAME_CUT] = "cut",     [FL_NAME_SIZE] = "size",
        [FL_NAME_HUGE] = "huge",
    };
    uint32_t *memo = &t->row->memo.names[name];
    if (*memo) {
        put_get(t, *memo - 1);
        return;
    }
    uint8_t op[FL_OPCODE_MOST + 8];
    put_end(t, op, fl_op_text(op, (const uint8_t *)NAMES[name], strlen(NAMES[name])));
    *memo = memoize(t) + 1;
}

static void put_text(tree *t, const fl_value *value)
{
    if (!fl_bytes_reserve(t->out, FL_OPCODE_MOST + value->len))
        return;
    uint8_t *to = t->out->data + t->out->len;
    if (value->kind != FL_K_BYTES) {
        to = fl_op_text(to, value->at.text, value->len);
    } else {
        *to++ = value->len <= UINT8_MAX ? 'C' : 'B'; /* SHORT_BINBYTES, BINBYTES */
        to = fl_op_little(to, value->len, value->len <= UINT8_MAX ? 1 : 4);
        memcpy(to, value->at.text, value->len);
        to += value->len;
    }
    t->out->len = (size_t)(to - t->out->data);
}

/* Where this value is noted, or would be: by its address, as each was read once. The table is never
 * more than half full, as each value lies in the pool, or is the record itself. */
static fl_written *find_written(tree *t, const fl_value *value, uint8_t kind)
{
    uint64_t hash = (uint64_t)(uintptr_t)value->at.text * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 32) * UINT64_C(0xD6E8FEB86659FD93);
    for (size_t at = (size_t)(hash >> 40);; at++) {
        fl_written *written = &t->row->written[at & t->row->written_mask];
        if (written->tree != t->row->trees || (written->text == value->at.text &&
                                               written->len == value->len && written->kind == kind))
            return written;
    }
}

/* Writes a value that lies at an address; again, if it was fetched from the memo, only a reference.
 *
 * kind: what is written of it, as a global is a text in one place and a node in another. */
static void put_shared(tree *t, const fl_value *value, uint8_t kind,
                       void (*put_value)(tree *, const fl_value *))
{
    if (!value->fetched || (value->len < FL_OPCODE_MOST && kind != FL_K_GLOBAL)) {
        put_value(t, value);
        return;
    }
    fl_written *written = find_written(t, value, kind);
    if (written->tree == t->row->trees) {
        put_get(t, written->memo);
        return;
    }
    put_value(t, value);
    *written = (fl_written){value->at.text, value->len, memoize(t), t->row->trees, kind};
}

static void put_long(tree *t, const uint8_t *little, size_t len)
{
    uint8_t op[FL_OPCODE_MOST], *to = op;
    *to++ = len <= LONG1_MOST ? 0x8a : 0x8b; /* LONG1, LONG4 */
    put_end(t, op, fl_op_little(to, len, len <= LONG1_MOST ? 1 : 4));
    put(t, little, len);
}

static void put_big(tree *t, const fl_value *value)
{
    if (value->kind == FL_K_BIG_BYTES) {
        put_long(t, value->at.text, value->len);
        return;
    }
    put_byte(t, 'L');
    put(t, value->at.text, value->len);
    put(t, "L\n", 2);
}

static void put_number(tree *t, const fl_value *value)
{
    uint8_t op[FL_OPCODE_MOST];
    switch (value->kind) {
    case FL_K_INT: put_end(t, op, fl_op_integer(op, value->at.integer)); break;
    case FL_K_FLOAT: put_end(t, op, fl_op_float(op, value->at.real)); break;
    default: /* FL_K_UINT */
        fl_op_little(op, value->at.natural, 8);
        op[8] = 0; /* it is not negative */
        put_long(t, op, 9);
    }
}

/* A node with one part, whose value follows. */
static void put_part(tree *t, enum fl_tree_name name)
{
    put_byte(t, '}');
    put_name(t, name);
}

static bool is_huge(const fl_value *value)
{
    return (value->kind == FL_K_BIG_BYTES && value->len > HUGE_BYTES) ||
           (value->kind == FL_K_BIG_DIGITS && value->len - (*value->at.text == '-') > HUGE_DIGITS);
}

/* {"huge": [what is kept of it, the length]} */
static void put_huge(tree *t, const fl_value *value)
{
    bool is_text = value->kind == FL_K_BIG_DIGITS;
    fl_value head = {.kind = FL_K_TEXT, .len = HEAD_DIGITS, .at.text = value->at.text};
    fl_value len = {.kind = FL_K_INT, .at.integer = value->len};
    if (is_text)
        len.at.integer -= *value->at.text == '-';
    else
        head = (fl_value){.kind = FL_K_BYTES,
                          .len = HEAD_BYTES,
                          .at.text = value->at.text + value->len - HEAD_BYTES};
    put_part(t, FL_NAME_HUGE);
    put(t, "](", 2);
    put_text(t, &head);
    put_number(t, &len);
    put(t, "es", 2);
}

static void put_global(tree *t, const fl_value *value)
{
    put_part(t, FL_NAME_GLOBAL);
    put_shared(t, value, FL_K_TEXT, put_text);
    put_byte(t, 's');
}

/* One for all of the block. */
static void put_overflow(tree *t)
{
    uint32_t *memo = &t->row->memo.names[FL_NAME_OVERFLOW];
    if (*memo) {
        put_get(t, *memo - 1);
        return;
    }
    put_part(t, FL_NAME_CUT);
    put_name(t, FL_NAME_SIZE);
    put_byte(t, 's');
    *memo = memoize(t) + 1;
}

static void put_value(tree *t, const fl_value *value)
{
    switch (value->kind) {
    case FL_K_NONE: put_byte(t, 'N'); break;
    case FL_K_TRUE: put_byte(t, 0x88); break;
    case FL_K_FALSE: put_byte(t, 0x89); break;
    case FL_K_TEXT:
    case FL_K_ODD:
    case FL_K_BYTES: put_shared(t, value, FL_K_TEXT, put_text); break;
    case FL_K_BIG_DIGITS:
    case FL_K_BIG_BYTES:
        put_shared(t, value, value->kind, is_huge(value) ? put_huge : put_big);
        break;
    case FL_K_GLOBAL: put_shared(t, value, FL_K_GLOBAL, put_global); break;
    case FL_K_OVERFLOW: put_overflow(t); break;
    case FL_K_LIST:
    case FL_K_SET:
    case FL_K_TUPLE:
    case FL_K_DICT:
    case FL_K_OBJECT:
        if (value->at.node)
            put_get(t, fl_node_of(t->reader, value)->memo);
        else
            put_byte(t, ']');
        break;
    default: put_number(t, value);
    }
}

/* These values, into the list on the stack. */
static void put_items(tree *t, const fl_items *items)
{
    fl_walk walk = fl_walk_over(t->reader, items);
    if (!items->len)
        return;
    put_byte(t, '(');
    for (const fl_value *value; (value = fl_walk_next(&walk));)
        put_value(t, value);
    put_byte(t, 'e');
}

static void put_list(tree *t, const fl_items *items)
{
    put_byte(t, ']');
    put_items(t, items);
}

/* The parts of an object, into the dict on the stack. */
static void put_object(tree *t, const fl_node *node)
{
    const fl_value *parts = &t->reader->pool[node->parts + 1];
    put_byte(t, '(');
    put_name(t, FL_NAME_CLASS);
    if (parts[FL_PART_CLASS].kind == FL_K_GLOBAL)
        put_shared(t, &parts[FL_PART_CLASS], FL_K_TEXT, put_text);
    else
        put_value(t, &parts[FL_PART_CLASS]);
    put_name(t, FL_NAME_ARGS);
    put_value(t, &parts[FL_PART_ARGS]);
    if (parts[FL_PART_KWARGS].kind != FL_K_NONE) {
        put_name(t, FL_NAME_KWARGS);
        put_value(t, &parts[FL_PART_KWARGS]);
    }
    if (node->items.len) {
        put_name(t, FL_NAME_ITEMS);
        put_list(t, &node->items);
    }
    if (node->pairs.len) {
        put_name(t, FL_NAME_PAIRS);
        put_list(t, &node->pairs);
    }
    if (parts[FL_PART_STATE].kind != FL_K_UNSET) {
        put_name(t, FL_NAME_STATE);
        put_value(t, &parts[FL_PART_STATE]);
    }
    put_byte(t, 'u');
}

static void fill(tree *t, const fl_node *node)
{
    bool is_object = node->kind == FL_K_OBJECT;
    if (!is_object && node->kind != FL_K_DICT && !node->items.len)
        return;
    put_get(t, node->memo);
    if (is_object) {
        put_object(t, node);
    } else if (node->kind == FL_K_DICT) {
        put_name(t, FL_NAME_PAIRS);
        put_list(t, &node->items);
        put_byte(t, 's');
    } else {
        put_items(t, &node->items);
    }
}

void fl_tree_nodes(fl_row *row, fl_reader *reader, uint32_t without, fl_bytes *out)
{
    tree t = {row, reader, out};
    if (!++row->trees) { /* the numbers begin anew */
        memset(row->written, 0, FL_WRITTEN * sizeof *row->written);
        row->trees = 1;
    }
    uint32_t slots = LEAST_WRITTEN;
    while (slots < 2 * reader->pool_used) /* FL_WRITTEN at most, as the pool has FL_POOL */
        slots *= 2;
    row->written_mask = slots - 1;
    put_byte(&t, '(');
    for (uint32_t i = 1; i < reader->nodes_used; i++) {
        if (i == without)
            continue;
        put_byte(&t, reader->nodes[i].kind >= FL_K_DICT ? '}' : ']');
        reader->nodes[i].memo = memoize(&t);
    }
    for (uint32_t i = 1; i < reader->nodes_used; i++)
        if (i != without)
            fill(&t, &reader->nodes[i]);
    put_byte(&t, '1'); /* POP_MARK */
}

void fl_tree_met(fl_row *row, fl_reader *reader, fl_bytes *out)
{
    tree t = {row, reader, out};
    if (!reader->may_cycle) {
        put_byte(&t, 'N');
        return;
    }
    put(&t, "](", 2);
    for (uint32_t i = 1; i < reader->nodes_used; i++)
        if (reader->nodes[i].is_met)
            put_get(&t, reader->nodes[i].memo);
    put_byte(&t, 'e');
}

void fl_tree_value(fl_row *row, fl_reader *reader, const fl_value *value, fl_bytes *out)
{
    tree t = {row, reader, out};
    put_value(&t, value);
}
