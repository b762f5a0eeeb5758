/* hosts.c: how many connections each host has.
 *
 * A host is an IPv4 address, or the /64 network of an IPv6 address: who has one address of such a
 * network can usually have all of them. Loopback addresses and Unix sockets are this machine, whose
 * processes are many and not strangers to each other: they are not counted.
 *
 * A table of chains. It has no more hosts than there are connections, and which chain a host is in
 * depends on a random key (multiply-shift, which is universal), so nobody can choose addresses that
 * share one.
 */
#include "loop_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HERE UINT64_MAX /* ffff:… is multicast: nobody's address */

enum { FIRST_SIZE = 16, FIRST_SHIFT = 60 };

/* The host of "address:port" or "[address]:port"; HERE also for what is neither. */
static uint64_t network_of(const char *peer)
{
    char text[FL_PEER_SIZE];
    struct in6_addr v6;
    struct in_addr v4;
    bool is_v6 = *peer == '[';
    size_t len = strcspn(peer += is_v6, is_v6 ? "]" : ":");
    if (len >= sizeof text)
        return HERE;
    memcpy(text, peer, len);
    text[len] = 0;
    if (!is_v6) {
        if (inet_pton(AF_INET, text, &v4) != 1 || ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET)
            return HERE;
        return (uint64_t)0xFFFF << 32 | ntohl(v4.s_addr); /* in ::/8, where no IPv6 host is */
    }
    if (inet_pton(AF_INET6, text, &v6) != 1 || IN6_IS_ADDR_LOOPBACK(&v6))
        return HERE;
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

static void link_in(hosts *h, uint32_t i)
{
    uint32_t *chain = chain_of(h, h->all[i].network);
    h->all[i].next = *chain;
    *chain = i;
}

/* Doubles a table in which no place is free. */
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
        link_in(h, i);
    for (uint32_t i = size; i-- > old;) {
        all[i].next = h->free;
        h->free = i;
    }
    return true;
}

/* False: the system has no random numbers; errno says why. */
bool hosts_init(hosts *h)
{
    h->free = NO_SLOT;
    ssize_t n = getrandom(&h->key, sizeof h->key, 0);
    h->key |= 1; /* multiply-shift wants it odd */
    return n == (ssize_t)sizeof h->key;
}

void hosts_free(hosts *h)
{
    free(h->all);
    free(h->chains);
}

/* How many connections its host has; 0 if that is not counted. */
uint32_t hosts_count(const hosts *h, const char *peer)
{
    uint64_t network = network_of(peer);
    uint32_t i = network == HERE ? NO_SLOT : find(h, network);
    return i == NO_SLOT ? 0 : h->all[i].connections;
}

/* Its host has one more. Returns where in the table, NO_SLOT if it is not counted. False: there is
 * no memory. */
bool hosts_enter(hosts *h, const char *peer, uint32_t *out)
{
    uint64_t network = network_of(peer);
    *out = network == HERE ? NO_SLOT : find(h, network);
    if (network != HERE && *out == NO_SLOT) {
        if (h->free == NO_SLOT && !grow(h))
            return false;
        *out = h->free;
        h->free = h->all[*out].next;
        h->all[*out] = (host){.network = network};
        link_in(h, *out);
    }
    if (*out != NO_SLOT)
        h->all[*out].connections++;
    return true;
}

/* Which of HOST_SHARES shares is that of its host; this machine has one too. */
uint32_t hosts_share(const hosts *h, const char *peer)
{
    return (uint32_t)(network_of(peer) * h->key >> (64 - HOST_SHARE_BITS));
}

/* The host at this place has one less; with its last it goes. */
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
