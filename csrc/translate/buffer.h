/* buffer.h: bytes that grow. For every file of this folder; it uses none of them. */
#ifndef FL_TRANSLATE_BUFFER_H
#define FL_TRANSLATE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A zeroed buffer is an empty one. Its owner calls free(data). `failed` is sticky: there was no
 * memory, and bytes are missing. */
typedef struct fl_buffer {
    uint8_t *data;
    size_t len, cap; /* in bytes */
    bool failed;
} fl_buffer;

/* Makes the capacity at least len + n. Returns false, and sets `failed`, if there is no memory. */
bool fl_buffer_grow(fl_buffer *buffer, size_t n);

/* Makes room for n more bytes. Returns false, and sets `failed`, if there is no memory. */
static inline bool fl_buffer_reserve(fl_buffer *buffer, size_t n)
{
    return n <= buffer->cap - buffer->len || fl_buffer_grow(buffer, n);
}

/* Appends n bytes; nothing at all if there is no memory. */
void fl_buffer_add(fl_buffer *buffer, const void *data, size_t n);

#endif
