/* hosts.c: the number of connections of each host.
 *
 * A host is an IPv4 address, or the /64 network of an IPv6 address: a machine that has one address
 * of such a network can usually have all of them. Loopback addresses and Unix sockets belong to
 * this machine; its processes are many and under one administrator, so they are not counted.
 *
 * The table is an array of chains. It has no more hosts than there are connections. The chain of a
 * host depends on a random key (multiply-shift, which is universal), so an attacker cannot choose
 * addresses that share a chain.
 */
#include "loop_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LOCAL UINT64_MAX /* this machine: ffff:… is multicast, so no host has it */

enum { FIRST_SIZE = 16, FIRST_SHIFT = 60 };

/* Returns the host of "address:port" or "[address]:port"; LOCAL for anything else. */
static uint64_t network_of(const char *peer)
{
    char text[FL_PEER_SIZE];
    struct in6_addr v6;
    struct in_addr v4;
    bool is_v6 = *peer == '[';
    size_t len = strcspn(peer += is_v6, is_v6 ? "]" : ":");
    if (len >= sizeof text)
        return LOCAL;
    memcpy(text, peer, len);
    text[len] = 0;
    if (!is_v6) {
        if (inet_pton(AF_INET, text, &v4) != 1 || ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET)
            return LOCAL;
        return (uint64_t)0xFFFF << 32 | ntohl(v4.s_addr); /* in ::/8, which no IPv6 host uses */
    }
    if (inet_pton(AF_INET6, text, &v6) != 1 || IN6_IS_ADDR_LOOPBACK(&v6))
        return LOCAL;
    uint64_t network = 0;
    for (int i = 0; i < 8; i++)
        network = network << 8 | v6.s6_addr[i];
    return network;
}

static uint32_t *chain_of(const hosts *h, uint64_t network)
{
    return &h->chains[network * h->key >> h->shift];
}

static uint32_t find(const hosts *h, uint64_t network)
{
    uint32_t i = h->size ? *chain_of(h, network) : NO_SLOT;
    while (i != NO_SLOT && h->all[i].network != network)
        i = h->all[i].next;
    return i;
}

static void add_to_chain(hosts *h, uint32_t i)
{
    uint32_t *chain = chain_of(h, h->all[i].network);
    h->all[i].next = *chain;
    *chain = i;
}

/* Doubles the table, which has no free entry. */
static bool grow(hosts *h)
{
    uint32_t old = h->size, size = old ? old * 2 : FIRST_SIZE;
    host *all = realloc(h->all, size * sizeof *all);
    if (!all)
        return false;
    h->all = all;
    uint32_t *chains = realloc(h->chains, size * sizeof *chains);
    if (!chains)
        return false;
    h->chains = chains;
    h->shift = old ? h->shift - 1 : FIRST_SHIFT;
    h->size = size;
    for (uint32_t i = 0; i < size; i++)
        chains[i] = NO_SLOT;
    for (uint32_t i = 0; i < old; i++)
        add_to_chain(h, i);
    for (uint32_t i = size; i-- > old;) {
        all[i].next = h->free;
        h->free = i;
    }
    return true;
}

bool hosts_init(hosts *h)
{
    h->free = NO_SLOT;
    ssize_t n = getrandom(&h->key, sizeof h->key, 0);
    h->key |= 1; /* multiply-shift needs an odd key */
    return n == (ssize_t)sizeof h->key;
}

void hosts_free(hosts *h)
{
    free(h->all);
    free(h->chains);
}

uint32_t hosts_count(const hosts *h, const char *peer)
{
    uint64_t network = network_of(peer);
    uint32_t i = network == LOCAL ? NO_SLOT : find(h, network);
    return i == NO_SLOT ? 0 : h->all[i].connections;
}

bool hosts_enter(hosts *h, const char *peer, uint32_t *out)
{
    uint64_t network = network_of(peer);
    *out = network == LOCAL ? NO_SLOT : find(h, network);
    if (network != LOCAL && *out == NO_SLOT) {
        if (h->free == NO_SLOT && !grow(h))
            return false;
        *out = h->free;
        h->free = h->all[*out].next;
        h->all[*out] = (host){.network = network};
        add_to_chain(h, *out);
    }
    if (*out != NO_SLOT)
        h->all[*out].connections++;
    return true;
}

uint32_t hosts_bucket(const hosts *h, const char *peer)
{
    return (uint32_t)(network_of(peer) * h->key >> (64 - HOST_BUCKET_BITS));
}

void hosts_leave(hosts *h, uint32_t index)
{
    if (index == NO_SLOT || --h->all[index].connections)
        return;
    uint32_t *at = chain_of(h, h->all[index].network);
    while (*at != index)
        at = &h->all[*at].next;
    *at = h->all[index].next;
    h->all[index].next = h->free;
    h->free = index;
}
