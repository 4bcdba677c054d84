#include "canonical.h"

#include <stdint.h>
#include <string.h>

#include "unicode.h"

/* Says whether a text is in its form already, by what each code point is alone (the quick check of the annex). A no may
 * be wrong. */
static bool canonical_is(bool composes, const eai_string *text)
{
    const char *at = text->data, *end = text->data + text->size;
    unsigned before = 0;
    while (at < end) {
        uint32_t point = eai_utf8_next(&at);
        if (point < 0xC0) {
            before = 0;
            continue;
        }
        unsigned combining = eai_unicode_combining(point);
        if (combining && combining < before)
            return false;
        before = combining;
        if (composes) {
            if (eai_unicode_class(point) & EAI_IS_UNCOMPOSED)
                return false;
        } else {
            uint32_t parts[4];
            if (eai_unicode_decompose(point, parts) > 1 || parts[0] != point)
                return false;
        }
    }
    return true;
}

/* Sorts marks by their combining class, and leaves those of one class in order. One pass a class: runs that are made to
 * be slow have 255 passes at most, where sorting by exchange would take the square of their length. */
static void canonical_order(uint32_t *marks, size_t count, eai_words *points)
{
    bool there[256] = {false}, sorted = true;
    unsigned before = 0;
    for (size_t index = 0; index < count; index++) {
        unsigned combining = eai_unicode_combining(marks[index]);
        there[combining] = true;
        sorted = sorted && before <= combining;
        before = combining;
    }
    if (sorted)
        return;
    /* `marks` lies in the same array as the room behind its end, which the caller has reserved. */
    uint32_t *ordered = points->data + points->size;
    size_t done = 0;
    for (unsigned combining = 1; combining < 256; combining++)
        for (size_t index = 0; there[combining] && index < count; index++)
            if (eai_unicode_combining(marks[index]) == combining)
                ordered[done++] = marks[index];
    memcpy(marks, ordered, count * sizeof *marks);
}

static void canonical_compose(eai_words *points)
{
    uint32_t *data = points->data;
    size_t kept = 0, starter = SIZE_MAX;
    unsigned before = 0; /* the combining class of the last one kept behind the starter */
    for (size_t index = 0; index < points->size; index++) {
        uint32_t point = data[index];
        unsigned combining = eai_unicode_combining(point);
        /* Nothing between them may block: no starter, and no mark of the same class or a higher one. */
        if (starter != SIZE_MAX && (kept - starter == 1 || before < combining)) {
            uint32_t composed = eai_unicode_compose(data[starter], point);
            if (composed) {
                data[starter] = composed;
                continue;
            }
        }
        if (!combining)
            starter = kept;
        before = combining;
        data[kept++] = point;
    }
    points->size = kept;
}

bool eai_canonical(bool composes, const eai_string *text, eai_string *out, eai_words *points, bool *changed)
{
    *changed = !canonical_is(composes, text);
    if (!*changed)
        return true;
    const char *at = text->data, *end = text->data + text->size;
    size_t marks = 0; /* where the run of marks begins that is being read */
    points->size = 0;
    for (bool more = true; more;) {
        uint32_t parts[4];
        more = at < end;
        size_t count = more ? eai_unicode_decompose(eai_utf8_next(&at), parts) : 0;
        for (size_t index = 0; index < count || !more; index++) {
            bool starter = !more || !eai_unicode_combining(parts[index]);
            if (starter && points->size - marks > 1) {
                if (!eai_words_reserve(points, 2 * points->size - marks))
                    return false;
                canonical_order(points->data + marks, points->size - marks, points);
            }
            if (!more)
                break;
            if (!eai_words_add(points, parts[index]))
                return false;
            if (starter)
                marks = points->size;
        }
    }
    if (composes)
        canonical_compose(points);
    for (size_t index = 0; index < points->size; index++) {
        char bytes[4];
        if (!eai_string_add(out, bytes, eai_utf8_write(points->data[index], bytes)))
            return false;
    }
    return true;
}
