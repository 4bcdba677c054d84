/* SHA-256, with the machine's instructions for it and without. */
#include "expect.h"
#include "sha256.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    /* FIPS 180-4's own examples, and a million times "a". */
    char hex[65], *many = malloc(1000000);
    eai_sha256 digest;
    eai_sha256_begin(&digest);
    eai_sha256_end(&digest, hex);
    EXPECT(strcmp(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0);
    eai_sha256_begin(&digest);
    eai_sha256_add(&digest, "abc", 3);
    eai_sha256_end(&digest, hex);
    EXPECT(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0);
    memset(many, 'a', 1000000);
    eai_sha256_begin(&digest);
    for (size_t done = 0, step = 1; done < 1000000; done += step, step = step % 997 + 1) {
        step = step < 1000000 - done ? step : 1000000 - done;
        eai_sha256_add(&digest, many + done, step);
    }
    eai_sha256_end(&digest, hex);
    EXPECT(strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0);
    /* What the machine has instructions for is what every machine computes. */
    eai_sha256 plain;
    for (size_t index = 0; index < 1000000; index++)
        many[index] = (char)(index * 2654435761u >> 13);
    for (size_t blocks = 0; blocks < 40; blocks++) {
        eai_sha256_begin(&digest);
        eai_sha256_begin(&plain);
        eai_sha256_add(&digest, many + blocks, 64 * blocks);
        eai_sha256_plain_blocks(plain.state, (const unsigned char *)many + blocks, blocks);
        EXPECT(memcmp(digest.state, plain.state, sizeof plain.state) == 0);
    }
    free(many);
    return told();
}
