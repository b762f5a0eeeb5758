/* column_lists.c: the rows of plain frames as columns. Pure.
 *
 * Each list is written as its own part of the pickle, so it has no memo. What recurs most is in
 * groups, whose combinations are written once as long as they are known.
 */
#include "column_lists.h"
#include "opcode_value.h"

#include <stdlib.h>

static const uint8_t BEGIN_LIST[] = {FL_OP_EMPTY_LIST, FL_OP_MARK}, END_LIST = FL_OP_APPENDS;

bool fl_column_lists_init(fl_column_lists *lists)
{
    for (size_t i = 0; i < FL_GROUPS; i++)
        if (!fl_recurring_init(&lists->groups[i].known))
            return false;
    return true;
}

void fl_column_lists_free(fl_column_lists *lists)
{
    for (size_t i = 0; i < FL_COLUMNS_MAX; i++)
        free(lists->of[i].data);
    for (size_t i = 0; i < FL_GROUPS; i++) {
        fl_recurring_free(&lists->groups[i].known);
        free(lists->groups[i].numbers.data);
        free(lists->groups[i].combinations.data);
    }
    free(lists->text.data);
    free(lists->combination.data);
}

static void begin_list(fl_buffer *list)
{
    list->len = 0;
    list->failed = false;
    fl_buffer_add(list, BEGIN_LIST, sizeof BEGIN_LIST);
}

void fl_column_lists_begin(fl_column_lists *lists)
{
    for (size_t i = 0; i < FL_COLUMNS_MAX; i++)
        begin_list(&lists->of[i]);
    lists->text.len = 0;
    lists->text.failed = lists->combination.failed = false;
    for (size_t i = 0; i < FL_GROUPS; i++) {
        fl_group *group = &lists->groups[i];
        /* The caller has not seen the combinations of a block that was not ended. */
        if (lists->is_open || fl_recurring_is_full(&group->known))
            fl_recurring_clear(&group->known);
        group->first = group->known.next;
        begin_list(&group->numbers);
        begin_list(&group->combinations);
    }
    lists->is_open = true;
}

static bool put(fl_buffer *to, const fl_row *row, size_t column, const fl_value *host, uint32_t idx)
{
    if (!fl_buffer_reserve(to, FL_OPCODE_MAX + fl_row_text_of(row, column, host).len))
        return false;
    to->len = (size_t)(fl_row_put(row, column, to->data + to->len, host, idx) - to->data);
    return true;
}

static int add_to_group(fl_column_lists *lists, fl_group *group, const fl_row *row,
                        size_t first_column, const fl_value *host, uint32_t idx)
{
    static const uint8_t MARK = FL_OP_MARK, TUPLE = FL_OP_TUPLE;
    fl_buffer *combination = &lists->combination;
    uint8_t of = row->columns.of[first_column].group, number[FL_OPCODE_MAX];

    combination->len = 0;
    fl_buffer_add(combination, &MARK, 1);
    for (size_t i = first_column; i < row->columns.n; i++)
        if (row->columns.of[i].group == of && !put(combination, row, i, host, idx))
            return FL_ENOMEM;
    fl_buffer_add(combination, &TUPLE, 1);
    uint32_t next = group->known.next;
    uint32_t known = fl_recurring_number(&group->known, combination->data, combination->len);
    if (known == next)
        fl_buffer_add(&group->combinations, combination->data, combination->len);
    fl_buffer_add(&group->numbers, number, (size_t)(fl_put_integer(number, known) - number));
    return combination->failed || group->combinations.failed || group->numbers.failed ? FL_ENOMEM
                                                                                      : FL_PLAIN;
}

static void add_to_text(fl_buffer *text, const fl_row *row, size_t column, const fl_value *host)
{
    if (!fl_column_is_text(row->columns.of[column].kind))
        return;
    fl_str value = fl_row_text_of(row, column, host);
    fl_buffer_add(text, value.text, value.len);
    fl_buffer_add(text, "\n", 1);
}

int fl_column_lists_add(fl_column_lists *lists, const fl_row *row, const fl_value *host,
                        uint32_t idx)
{
    unsigned done = 0; /* a bit for each group */

    fl_buffer_add(&lists->text, "\0\n", 2);
    for (size_t i = 0; i < row->columns.n; i++) {
        uint8_t group = row->columns.of[i].group;
        if (!fl_column_is_listed(row->columns.of[i].kind))
            continue;
        if (!group) {
            if (!put(&lists->of[i], row, i, host, idx))
                return FL_ENOMEM;
            add_to_text(&lists->text, row, i, host);
        } else if (!(done & 1u << group)) {
            done |= 1u << group;
            int result = add_to_group(lists, &lists->groups[group - 1], row, i, host, idx);
            if (result)
                return result;
        }
    }
    return lists->text.failed ? FL_ENOMEM : FL_PLAIN;
}

static void end_list(fl_buffer *list, fl_buffer *out)
{
    fl_buffer_add(list, &END_LIST, 1);
    fl_buffer_add(out, list->data, list->len);
    out->failed |= list->failed;
}

void fl_column_lists_end(fl_column_lists *lists, const fl_columns *columns, fl_buffer *out)
{
    static const uint8_t BEGIN[] = {FL_OP_PROTO, 4, FL_OP_MARK}, END[] = {FL_OP_TUPLE, FL_OP_STOP};

    out->len = 0;
    out->failed = false;
    fl_buffer_add(out, BEGIN, sizeof BEGIN);
    for (size_t i = 0; i < FL_GROUPS; i++) {
        uint8_t first[FL_OPCODE_MAX];
        end_list(&lists->groups[i].numbers, out);
        end_list(&lists->groups[i].combinations, out);
        fl_buffer_add(out, first, (size_t)(fl_put_integer(first, lists->groups[i].first) - first));
    }
    for (size_t i = 0; i < columns->n; i++)
        if (fl_column_is_listed(columns->of[i].kind) && !columns->of[i].group)
            end_list(&lists->of[i], out);
    fl_buffer_add(out, END, sizeof END);
    lists->is_open = out->failed;
}
