#include "unicode.h"

#include "unicode_tables.h"

/* Hangul syllables are made of parts by arithmetic: The Unicode Standard, section 3.12. */
enum {
    HANGUL_SYLLABLES = 0xAC00,
    HANGUL_LEADS = 0x1100,
    HANGUL_VOWELS = 0x1161,
    HANGUL_TAILS = 0x11A7,
    HANGUL_LEAD_COUNT = 19,
    HANGUL_VOWEL_COUNT = 21,
    HANGUL_TAIL_COUNT = 28,
    HANGUL_COUNT = HANGUL_LEAD_COUNT * HANGUL_VOWEL_COUNT * HANGUL_TAIL_COUNT
};

/* Returns the number of the value of the run that a code point is in; `length_bits` of a run's first byte are its length. */
static unsigned unicode_value(const uint8_t *runs, const uint32_t *points, const uint16_t *offsets, size_t count,
                              unsigned length_bits, uint32_t point)
{
    size_t low = 0;
    while (count - low > 1) {
        size_t middle = (low + count) / 2;
        if (points[middle] <= point)
            low = middle;
        else
            count = middle;
    }
    const uint8_t *run = runs + offsets[low];
    uint32_t left = point - points[low], most = (1u << length_bits) - 1;
    for (;;) {
        unsigned first = *run++;
        uint32_t length = (first & most) + 1;
        if (length > most)
            for (unsigned shift = 0, more = 0x80; more & 0x80; shift += 7) {
                more = *run++;
                length += (more & 0x7F) << shift;
            }
        if (left < length)
            return first >> length_bits;
        left -= length;
    }
}

unsigned eai_unicode_class(uint32_t point)
{
    unsigned class = point < 0x80 ? class_ascii[point]
                                  : unicode_value(class_runs, class_points, class_offsets,
                                                  sizeof class_points / sizeof *class_points, 3, point);
    return class_flags[class];
}

unsigned eai_unicode_combining(uint32_t point)
{
    if (point < 0x300)
        return 0;
    return combining_classes[unicode_value(combining_runs, combining_points, combining_offsets,
                                           sizeof combining_points / sizeof *combining_points, 2, point)];
}

size_t eai_unicode_lower(uint32_t point, uint32_t lower[2])
{
    lower[0] = point;
    if (point < 0x80) {
        if (point >= 'A' && point <= 'Z')
            lower[0] = point + ('a' - 'A');
        return 1;
    }
    if (point == LOWER_TWO) {
        lower[0] = lower_two[0];
        lower[1] = lower_two[1];
        return 2;
    }
    size_t low = 0, high = sizeof lower_ranges / sizeof *lower_ranges;
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t packed = lower_ranges[middle], first = packed >> 11, step = 1 + (packed & 1);
        uint32_t last = first + ((packed >> 1 & 0x3FF) - 1) * step;
        if (point < first) {
            high = middle;
        } else if (point > last) {
            low = middle + 1;
        } else {
            if ((point - first) % step == 0)
                lower[0] = (point & ~(uint32_t)0xFFFF) | (uint16_t)(point + lower_deltas[middle]);
            return 1;
        }
    }
    return 1;
}

/* Returns the index of a code point in runs of them, or SIZE_MAX. */
static size_t unicode_key(const uint32_t *runs, const uint16_t *before, size_t count, uint32_t point)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = (low + count) / 2;
        uint32_t first = runs[middle] >> 11;
        if (point < first)
            count = middle;
        else if (point - first >= (runs[middle] & 0x7FF))
            low = middle + 1;
        else
            return before[middle] + (point - first);
    }
    return SIZE_MAX;
}

size_t eai_unicode_decompose(uint32_t point, uint32_t parts[4])
{
    if (point >= HANGUL_SYLLABLES && point < HANGUL_SYLLABLES + HANGUL_COUNT) {
        uint32_t index = point - HANGUL_SYLLABLES, tail = index % HANGUL_TAIL_COUNT;
        parts[0] = HANGUL_LEADS + index / (HANGUL_VOWEL_COUNT * HANGUL_TAIL_COUNT);
        parts[1] = HANGUL_VOWELS + index / HANGUL_TAIL_COUNT % HANGUL_VOWEL_COUNT;
        parts[2] = HANGUL_TAILS + tail;
        return tail ? 3 : 2;
    }
    /* A first part may decompose again, a second one only where make_unicode.py would have failed; four are enough. */
    uint32_t behind[3];
    size_t waiting = 0;
    while (point >= 0xC0) {
        size_t at = unicode_key(pair_runs, pair_before, sizeof pair_runs / sizeof *pair_runs, point);
        if (at != SIZE_MAX && waiting < 3) {
            uint32_t plane = point & ~(uint32_t)0xFFFF;
            behind[waiting++] = plane | pair_marks[pair_seconds[at]];
            point = plane | pair_firsts[at];
            continue;
        }
        at = unicode_key(single_runs, single_before, sizeof single_runs / sizeof *single_runs, point);
        if (at == SIZE_MAX)
            break;
        point = single_targets[at] | ((unsigned)single_high[at / 8] >> at % 8 & 1 ? 0x20000u : 0);
    }
    size_t count = 0;
    parts[count++] = point;
    while (waiting)
        parts[count++] = behind[--waiting];
    return count;
}

uint32_t eai_unicode_compose(uint32_t first, uint32_t second)
{
    if (first >= HANGUL_LEADS && first < HANGUL_LEADS + HANGUL_LEAD_COUNT) {
        if (second >= HANGUL_VOWELS && second < HANGUL_VOWELS + HANGUL_VOWEL_COUNT)
            return HANGUL_SYLLABLES + ((first - HANGUL_LEADS) * HANGUL_VOWEL_COUNT + (second - HANGUL_VOWELS)) * HANGUL_TAIL_COUNT;
        return 0;
    }
    if (first >= HANGUL_SYLLABLES && first < HANGUL_SYLLABLES + HANGUL_COUNT) {
        if ((first - HANGUL_SYLLABLES) % HANGUL_TAIL_COUNT == 0 && second > HANGUL_TAILS &&
            second < HANGUL_TAILS + HANGUL_TAIL_COUNT)
            return first + (second - HANGUL_TAILS);
        return 0;
    }
    uint32_t plane = second >> 16;
    if (plane > 1 || first >> 16 != plane || !(eai_unicode_class(second) & EAI_IS_UNCOMPOSED))
        return 0;
    size_t run = 0, end = plane ? sizeof pair_firsts / sizeof *pair_firsts : PAIR_PLANE_1;
    for (size_t at = plane ? PAIR_PLANE_1 : 0; at < end; at++) {
        if (pair_firsts[at] != (uint16_t)first || pair_marks[pair_seconds[at]] != (uint16_t)second ||
            (unsigned)pair_excluded[at / 8] >> at % 8 & 1)
            continue;
        while (at - pair_before[run] >= (pair_runs[run] & 0x7FF))
            run++;
        return (pair_runs[run] >> 11) + (uint32_t)(at - pair_before[run]);
    }
    return 0;
}

size_t eai_utf8_valid(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t at = 0; at < length;) {
        unsigned char lead = bytes[at];
        if (lead < 0x80) {
            at++;
            continue;
        }
        size_t more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || length - at <= more)
            return at;
        /* The second byte rules out what is written too long, surrogates, and what is over U+10FFFF. */
        unsigned char least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        unsigned char most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (bytes[at + 1] < least || bytes[at + 1] > most)
            return at;
        for (size_t index = 2; index <= more; index++)
            if ((bytes[at + index] & 0xC0) != 0x80)
                return at;
        at += more + 1;
    }
    return length;
}

uint32_t eai_utf8_next(const char **at)
{
    const unsigned char *bytes = (const unsigned char *)*at;
    uint32_t lead = bytes[0];
    if (lead < 0x80) {
        *at += 1;
        return lead;
    }
    if (lead < 0xE0) {
        *at += 2;
        return (lead & 0x1F) << 6 | (bytes[1] & 0x3Fu);
    }
    if (lead < 0xF0) {
        *at += 3;
        return (lead & 0x0F) << 12 | (bytes[1] & 0x3Fu) << 6 | (bytes[2] & 0x3Fu);
    }
    *at += 4;
    return (lead & 0x07) << 18 | (bytes[1] & 0x3Fu) << 12 | (bytes[2] & 0x3Fu) << 6 | (bytes[3] & 0x3Fu);
}

uint32_t eai_utf8_before(const char **at)
{
    do
        *at -= 1;
    while (((unsigned char)**at & 0xC0) == 0x80);
    const char *start = *at;
    return eai_utf8_next(&start);
}

size_t eai_utf8_write(uint32_t point, char bytes[4])
{
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t index = size - 1; index; index--) {
        bytes[index] = (char)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    bytes[0] = (char)((0xF00u >> size & 0xFF) | point);
    return size;
}
