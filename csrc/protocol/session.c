/* session.c: which sequences of one client are accepted, and which are durable. Pure.
 *
 * `accepted` is the last sequence in a block, `journaled` the last in the journal, `committed` the
 * last that is durable. They never decrease, with one exception: when the journal rejects a block,
 * `accepted` returns to `journaled`. Each block has an entry of its own in the
 * ring `pending`. Entries are not merged, because a snapshot of `committed` must state exactly what
 * the blocks below its offset contain, no more and no less.
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
    free(s->pending);
    s->pending = NULL;
}

int fl_session_offer(const fl_session *s, uint64_t first, uint64_t count, uint64_t *skip)
{
    if (first > s->accepted + 1)
        return FL_ESEQUENCE;
    uint64_t repeated = s->accepted + 1 - first;
    *skip = repeated < count ? repeated : count;
    return 0;
}

bool fl_session_reserve(fl_session *s)
{
    if (s->pending_count < s->pending_cap)
        return true;
    uint32_t cap = s->pending_cap ? s->pending_cap * 2 : 4;
    fl_pending *grown = malloc(cap * sizeof *grown);
    if (!grown)
        return false;
    for (uint32_t i = 0; i < s->pending_count; i++)
        grown[i] = s->pending[(s->pending_first + i) % s->pending_cap];
    free(s->pending);
    s->pending = grown;
    s->pending_cap = cap;
    s->pending_first = 0;
    return true;
}

void fl_session_journaled(fl_session *s, uint64_t offset)
{
    if (s->accepted == s->journaled)
        return;
    s->journaled = s->accepted;
    uint32_t last = (s->pending_first + s->pending_count++) % s->pending_cap;
    s->pending[last] = (fl_pending){offset, s->accepted};
}

void fl_session_discarded(fl_session *s)
{
    s->accepted = s->journaled;
}

bool fl_session_durable(fl_session *s, uint64_t offset)
{
    uint64_t before = s->committed;
    while (s->pending_count && s->pending[s->pending_first].offset <= offset) {
        s->committed = s->pending[s->pending_first].accepted;
        s->pending_first = (s->pending_first + 1) % s->pending_cap;
        s->pending_count--;
    }
    return s->committed > before;
}
