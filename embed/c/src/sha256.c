#include "sha256.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define SHA256_X86
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__AARCH64EL__) && defined(__linux__) && (__clang_major__ >= 16 || (__GNUC__ && !defined(__clang__)))
#define SHA256_ARM
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t sha256_turned(uint32_t word, unsigned by)
{
    return word >> by | word << (32 - by);
}

static void sha256_block(uint32_t state[8], const unsigned char *block)
{
    uint32_t words[64];
    for (int index = 0; index < 16; index++)
        words[index] = (uint32_t)block[4 * index] << 24 | (uint32_t)block[4 * index + 1] << 16 |
                       (uint32_t)block[4 * index + 2] << 8 | block[4 * index + 3];
    for (int index = 16; index < 64; index++) {
        uint32_t early = words[index - 15], late = words[index - 2];
        words[index] = words[index - 16] + words[index - 7] +
                       (sha256_turned(early, 7) ^ sha256_turned(early, 18) ^ early >> 3) +
                       (sha256_turned(late, 17) ^ sha256_turned(late, 19) ^ late >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int index = 0; index < 64; index++) {
        uint32_t first = h + (sha256_turned(e, 6) ^ sha256_turned(e, 11) ^ sha256_turned(e, 25)) +
                         ((e & f) ^ (~e & g)) + sha256_constants[index] + words[index];
        uint32_t second =
            (sha256_turned(a, 2) ^ sha256_turned(a, 13) ^ sha256_turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + first;
        d = c, c = b, b = a, a = first + second;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/* x86's instructions for it do five times as much in the same time; Arm has some, too. */
#ifdef SHA256_X86
/* Asked once: a virtual machine takes many microseconds to answer. */
static bool sha256_has_instructions(void)
{
    enum { UNKNOWN, ABSENT, THERE };
    static atomic_int found = UNKNOWN;
    if (found == UNKNOWN) {
        unsigned a, b, c, d;
        bool sse = __get_cpuid(1, &a, &b, &c, &d) && c & bit_SSSE3 && c & bit_SSE4_1;
        found = sse && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA ? THERE : ABSENT;
    }
    return found == THERE;
}

/* Intel's "New Instructions Supporting the Secure Hash Algorithm": the state is (a, b, e, f) and (c, d, g, h), and two
 * instructions do four rounds. words[step % 4] are the four words of this step, the others those of the last three. */
__attribute__((target("sha,sse4.1"))) static void sha256_fast_blocks(uint32_t state[8], const unsigned char *at,
                                                                     size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xB1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xF0);
    for (; count; count--, at += 64) {
        __m128i words[4], abef_before = abef, cdgh_before = cdgh;
        for (int step = 0; step < 16; step++) {
            __m128i *now = &words[step % 4], last = words[(step + 3) % 4];
            if (step < 4) {
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(at + 16 * step)), swap);
            } else {
                __m128i seventh = _mm_alignr_epi8(last, words[(step + 2) % 4], 4);
                __m128i early = _mm_sha256msg1_epu32(*now, words[(step + 1) % 4]);
                *now = _mm_sha256msg2_epu32(_mm_add_epi32(early, seventh), last);
            }
            const void *constants = sha256_constants + 4 * step;
            __m128i added = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)constants));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    high = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xF0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}
#elif defined(SHA256_ARM)
static bool sha256_has_instructions(void)
{
    return getauxval(AT_HWCAP) & HWCAP_SHA2;
}

/* Arm's SHA256H and its kin: the state is (a, b, c, d) and (e, f, g, h), and two instructions do four rounds. The words
 * lie as x86's do. */
__attribute__((target("+crypto"))) static void sha256_fast_blocks(uint32_t state[8], const unsigned char *at,
                                                                  size_t count)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; count; count--, at += 64) {
        uint32x4_t words[4], abcd_before = abcd, efgh_before = efgh;
        for (int step = 0; step < 16; step++) {
            uint32x4_t *now = &words[step % 4], last = words[(step + 3) % 4];
            if (step < 4)
                *now = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(at + 16 * step)));
            else
                *now = vsha256su1q_u32(vsha256su0q_u32(*now, words[(step + 1) % 4]), words[(step + 2) % 4], last);
            uint32x4_t added = vaddq_u32(*now, vld1q_u32(sha256_constants + 4 * step)), abcd_now = abcd;
            abcd = vsha256hq_u32(abcd, efgh, added);
            efgh = vsha256h2q_u32(efgh, abcd_now, added);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}
#else
static bool sha256_has_instructions(void)
{
    return false;
}

static void sha256_fast_blocks(uint32_t state[8], const unsigned char *at, size_t count)
{
    eai_sha256_plain_blocks(state, at, count);
}
#endif

void eai_sha256_plain_blocks(uint32_t state[8], const unsigned char *at, size_t count)
{
    for (; count; count--, at += 64)
        sha256_block(state, at);
}

static void sha256_blocks(uint32_t state[8], const unsigned char *at, size_t count)
{
    if (!count)
        return;
    if (sha256_has_instructions())
        sha256_fast_blocks(state, at, count);
    else
        eai_sha256_plain_blocks(state, at, count);
}

void eai_sha256_begin(eai_sha256 *digest)
{
    *digest = (eai_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void eai_sha256_add(eai_sha256 *digest, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    size_t held = (size_t)(digest->bytes % 64);
    digest->bytes += length;
    if (held) {
        size_t more = length < 64 - held ? length : 64 - held;
        memcpy(digest->block + held, at, more);
        at += more;
        length -= more;
        if (held + more < 64)
            return;
        sha256_blocks(digest->state, digest->block, 1);
    }
    sha256_blocks(digest->state, at, length / 64);
    if (length % 64)
        memcpy(digest->block, at + length / 64 * 64, length % 64);
}

void eai_sha256_end(eai_sha256 *digest, char hex[65])
{
    static const char digits[] = "0123456789abcdef";
    static const unsigned char padding[64] = {0x80};
    uint64_t bits = digest->bytes * 8;
    unsigned char length[8];
    for (int index = 0; index < 8; index++)
        length[index] = (unsigned char)(bits >> (56 - 8 * index));
    eai_sha256_add(digest, padding, 1 + (size_t)((119 - digest->bytes % 64) % 64));
    eai_sha256_add(digest, length, 8);
    for (int index = 0; index < 32; index++) {
        unsigned byte = digest->state[index / 4] >> (24 - 8 * (index % 4)) & 0xFF;
        hex[2 * index] = digits[byte >> 4];
        hex[2 * index + 1] = digits[byte & 15];
    }
    hex[64] = '\0';
}
