/* try_hosts.c: compares the table of hosts with an array, while connections of many hosts open and
 * close at random. test_loop_connections.py builds and runs it. */
#include "loop/loop_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOSTS = 3000, STEPS = 400000, OPEN = 6000 };

static uint64_t state = 88172645463325252u;

static uint32_t random_below(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 33) % below;
}

/* Writes the peer of host n. Two hosts in three are IPv4 addresses; the others are IPv6 networks,
 * each peer with a random address in its network. */
static void write_peer(uint32_t n, char peer[FL_PEER_SIZE])
{
    if (n % 3)
        snprintf(peer, FL_PEER_SIZE, "10.%u.%u.%u:%u", n % 7, n / 256, n % 256,
                 random_below(65536));
    else
        snprintf(peer, FL_PEER_SIZE, "[2001:db8:%x:%x::%x]:%u", n / 256, n % 256,
                 random_below(65536), random_below(65536));
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
    static uint32_t expected[HOSTS], host_of[OPEN], index_of[OPEN];
    uint32_t open = 0;
    char peer[FL_PEER_SIZE];
    hosts h = {0};
    if (!hosts_init(&h))
        return 2;
    for (uint32_t step = 0; step < STEPS; step++) {
        bool opens = open == 0 || (open < OPEN && random_below(OPEN) >= open);
        uint32_t n = opens ? random_below(HOSTS) : host_of[0];
        if (opens) {
            write_peer(n, peer);
            if (!hosts_enter(&h, peer, &index_of[open]))
                return 2;
            host_of[open++] = n;
            expected[n]++;
        } else {
            uint32_t at = random_below(open);
            n = host_of[at];
            hosts_leave(&h, index_of[at]);
            host_of[at] = host_of[--open];
            index_of[at] = index_of[open];
            expected[n]--;
        }
        write_peer(n, peer);
        if (hosts_count(&h, peer) != expected[n])
            return fprintf(stderr, "%s: %u, not %u\n", peer, hosts_count(&h, peer), expected[n]), 1;
    }
    if (longest_chain(&h) > 64)
        return fprintf(stderr, "a chain of %u\n", longest_chain(&h)), 1;
    while (open--)
        hosts_leave(&h, index_of[open]);
    for (uint32_t c = 0; c < h.size; c++)
        if (h.chains[c] != NO_SLOT)
            return fprintf(stderr, "a host without connections is still in the table\n"), 1;
    if (h.size > 2 * HOSTS)
        return fprintf(stderr, "%u entries for %u hosts\n", h.size, HOSTS), 1;
    static const char *const not_counted[] = {
        "127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "unix", "", "[", ":"};
    for (size_t i = 0; i < sizeof not_counted / sizeof *not_counted; i++) {
        uint32_t at = 0;
        if (!hosts_enter(&h, not_counted[i], &at) || at != NO_SLOT ||
            hosts_count(&h, not_counted[i]))
            return fprintf(stderr, "%s is counted\n", not_counted[i]), 1;
        hosts_leave(&h, at);
    }
    hosts_free(&h);
    return puts("ok"), 0;
}
