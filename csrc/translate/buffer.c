/* buffer.c: bytes that grow. Pure. */
#include "buffer.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 4096 };

bool fl_buffer_grow(fl_buffer *buffer, size_t n)
{
    size_t cap = buffer->cap ? buffer->cap : FIRST_CAPACITY;
    while (cap - buffer->len < n)
        cap *= 2; /* n is the length of something in memory, so this cannot overflow */
    uint8_t *grown = realloc(buffer->data, cap);
    if (!grown) {
        buffer->failed = true;
        return false;
    }
    buffer->data = grown;
    buffer->cap = cap;
    return true;
}

void fl_buffer_add(fl_buffer *buffer, const void *data, size_t n)
{
    if (n && fl_buffer_reserve(buffer, n)) {
        memcpy(buffer->data + buffer->len, data, n);
        buffer->len += n;
    }
}
