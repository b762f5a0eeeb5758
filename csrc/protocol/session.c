/* session.c: which records of one client are taken, and which of them are safe. Pure.
 *
 * Three numbers, never decreasing but for one case: `accepted` is what blocks hold, `journaled`
 * what the journal has taken, `committed` what it has made durable. A block that the journal
 * rejects sets `accepted` back. A mark says "when the journal is durable up to offset, committed is
 * at"; marks are kept exactly, not merged, because a snapshot of `committed` must say neither more
 * nor less than the blocks below its offset.
 */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

void fl_session_begin(fl_session *s, uint64_t committed)
{
    memset(s, 0, sizeof *s);
    s->accepted = s->journaled = s->committed = committed;
}

void fl_session_end(fl_session *s)
{
    free(s->marks);
    s->marks = NULL;
}

int fl_session_offer(const fl_session *s, uint64_t first, uint64_t count, uint64_t *skip)
{
    if (first > s->accepted + 1)
        return FL_ESEQUENCE;
    uint64_t known = s->accepted + 1 - first;
    *skip = known < count ? known : count;
    return 0;
}

bool fl_session_reserve(fl_session *s)
{
    if (s->mark_count < s->mark_cap)
        return true;
    uint32_t cap = s->mark_cap ? s->mark_cap * 2 : 4;
    fl_mark *grown = malloc(cap * sizeof *grown);
    if (!grown)
        return false;
    for (uint32_t i = 0; i < s->mark_count; i++)
        grown[i] = s->marks[(s->mark_first + i) % s->mark_cap];
    free(s->marks);
    s->marks = grown;
    s->mark_cap = cap;
    s->mark_first = 0;
    return true;
}

void fl_session_journaled(fl_session *s, uint64_t offset)
{
    if (s->accepted == s->journaled)
        return;
    s->journaled = s->accepted;
    s->marks[(s->mark_first + s->mark_count++) % s->mark_cap] = (fl_mark){offset, s->accepted};
}

void fl_session_discarded(fl_session *s)
{
    s->accepted = s->journaled;
}

bool fl_session_durable(fl_session *s, uint64_t offset)
{
    uint64_t before = s->committed;
    while (s->mark_count && s->marks[s->mark_first].offset <= offset) {
        s->committed = s->marks[s->mark_first].accepted;
        s->mark_first = (s->mark_first + 1) % s->mark_cap;
        s->mark_count--;
    }
    return s->committed > before;
}
