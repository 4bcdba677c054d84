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

/* Returns the last entry of a plane that starts at `point` or before; every plane has an entry at its start. */
static size_t unicode_find(const uint16_t *starts, const uint16_t *planes, uint32_t point)
{
    size_t low = planes[point >> 16], high = planes[(point >> 16) + 1];
    uint16_t within = (uint16_t)point;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (starts[middle] <= within)
            low = middle;
        else
            high = middle;
    }
    return low;
}

unsigned eai_unicode_class(uint32_t point)
{
    if (point < 0x80)
        return class_flags[class_ascii[point]];
    return class_flags[class_codes[unicode_find(class_starts, class_planes, point)]];
}

unsigned eai_unicode_combining(uint32_t point)
{
    if (point < 0x300)
        return 0;
    return combining_codes[unicode_find(combining_starts, combining_planes, point)];
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
                lower[0] = (uint32_t)((int32_t)point + lower_deltas[middle]);
            return 1;
        }
    }
    return 1;
}

/* Returns the index of a code point that decomposes into two, or the count of such. */
static size_t unicode_pair(uint32_t point)
{
    enum { COUNT = sizeof pair_keys / sizeof *pair_keys };
    if (point >> 16 > 1)
        return COUNT;
    size_t low = pair_planes[point >> 16], high = pair_planes[(point >> 16) + 1];
    uint16_t within = (uint16_t)point;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pair_keys[middle] == within)
            return middle;
        if (pair_keys[middle] < within)
            low = middle + 1;
        else
            high = middle;
    }
    return COUNT;
}

/* Returns the one code point that another decomposes to, or 0. */
static uint32_t unicode_single(uint32_t point)
{
    size_t low = 0, high = sizeof single_runs / sizeof *single_runs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t first = single_runs[middle].first;
        if (point < first) {
            high = middle;
        } else if (point - first >= single_runs[middle].count) {
            low = middle + 1;
        } else {
            size_t at = single_runs[middle].at + (point - first);
            return single_targets[at] | ((unsigned)single_high[at / 8] >> at % 8 & 1 ? 0x20000u : 0);
        }
    }
    return 0;
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
        size_t pair = unicode_pair(point);
        uint32_t plane = point & ~(uint32_t)0xFFFF;
        if (pair < sizeof pair_keys / sizeof *pair_keys && waiting < 3) {
            behind[waiting++] = plane | pair_seconds[pair];
            point = plane | pair_firsts[pair];
            continue;
        }
        uint32_t single = unicode_single(point);
        if (!single)
            break;
        point = single;
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
    for (size_t pair = pair_planes[plane]; pair < pair_planes[plane + 1]; pair++)
        if (pair_firsts[pair] == (uint16_t)first && pair_seconds[pair] == (uint16_t)second &&
            !((unsigned)pair_excluded[pair / 8] >> pair % 8 & 1))
            return plane << 16 | pair_keys[pair];
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
