/* SHA-256 (FIPS 180-4). */
#ifndef EAI_SHA256_H
#define EAI_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct eai_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} eai_sha256;

void eai_sha256_begin(eai_sha256 *digest);
void eai_sha256_add(eai_sha256 *digest, const void *bytes, size_t length);

/* Writes 64 lowercase hex digits and a NUL. */
void eai_sha256_end(eai_sha256 *digest, char hex[65]);

/* Takes whole blocks of 64 bytes into a state, as a machine without instructions for it does. */
void eai_sha256_plain_blocks(uint32_t state[8], const unsigned char *at, size_t count);

#endif
