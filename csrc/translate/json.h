/* json.h: JSON strings. Uses the buffer; for the files that write rows. */
#ifndef FL_TRANSLATE_JSON_H
#define FL_TRANSLATE_JSON_H

#include "buffer.h"

/* Appends the text as a JSON string, quotes included. The text is clean UTF-8. */
void fl_json_text(fl_buffer *out, const uint8_t *text, size_t len);

/* Writes the same at `to`, which has fl_json_room() bytes. Returns the end of it. */
uint8_t *fl_json_put(uint8_t *to, const uint8_t *text, size_t len);

/* Returns the room for it, in bytes: enough, and not much more if the text is long. */
size_t fl_json_room(const uint8_t *text, size_t len);

/* Returns the exact number of bytes of the string, without the quotes. */
size_t fl_json_length(const uint8_t *text, size_t len);

#endif
