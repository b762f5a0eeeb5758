/* The table of hosts against a plain array: random comings and goings of many hosts. */
#include "loop/loop_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOSTS = 3000, STEPS = 400000, OPEN = 6000 };

static uint64_t state = 88172645463325252u;

static uint32_t roll(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

/* Two in three are IPv4; the others are networks of IPv6, with a random address in each. */
static void name(uint32_t n, char peer[FL_PEER_SIZE])
{
    if (n % 3)
        snprintf(peer, FL_PEER_SIZE, "10.%u.%u.%u:%u", n % 7, n / 256, n % 256, roll(65536));
    else
        snprintf(peer, FL_PEER_SIZE, "[2001:db8:%x:%x::%x]:%u", n / 256, n % 256, roll(65536),
                 roll(65536));
}

static uint32_t longest_chain(const hosts *h)
{
    uint32_t longest = 0;
    for (uint32_t c = 0; c < h->size; c++) {
        uint32_t len = 0;
        for (uint32_t i = h->chains[c]; i != NO_SLOT; i = h->all[i].next)
            len++;
        longest = len > longest ? len : longest;
    }
    return longest;
}

int main(void)
{
    static uint32_t expected[HOSTS], who[OPEN], place[OPEN];
    uint32_t open = 0;
    char peer[FL_PEER_SIZE];
    hosts h = {0};
    if (!hosts_init(&h))
        return 2;
    for (uint32_t step = 0; step < STEPS; step++) {
        bool comes = open == 0 || (open < OPEN && roll(OPEN) >= open);
        uint32_t n = comes ? roll(HOSTS) : who[0];
        if (comes) {
            name(n, peer);
            if (!hosts_enter(&h, peer, &place[open]))
                return 2;
            who[open++] = n;
            expected[n]++;
        } else {
            uint32_t at = roll(open);
            n = who[at];
            hosts_leave(&h, place[at]);
            who[at] = who[--open];
            place[at] = place[open];
            expected[n]--;
        }
        name(n, peer);
        if (hosts_count(&h, peer) != expected[n])
            return fprintf(stderr, "%s: %u, not %u\n", peer, hosts_count(&h, peer), expected[n]), 1;
    }
    if (longest_chain(&h) > 64)
        return fprintf(stderr, "a chain of %u\n", longest_chain(&h)), 1;
    while (open--)
        hosts_leave(&h, place[open]);
    for (uint32_t c = 0; c < h.size; c++)
        if (h.chains[c] != NO_SLOT)
            return fprintf(stderr, "a host without connections is left\n"), 1;
    if (h.size > 2 * HOSTS)
        return fprintf(stderr, "%u places for %u hosts\n", h.size, HOSTS), 1;
    static const char *const here[] = {
        "127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "unix", "", "[", ":"};
    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        uint32_t at = 0;
        if (!hosts_enter(&h, here[i], &at) || at != NO_SLOT || hosts_count(&h, here[i]))
            return fprintf(stderr, "%s is counted\n", here[i]), 1;
        hosts_leave(&h, at);
    }
    hosts_free(&h);
    return puts("ok"), 0;
}
