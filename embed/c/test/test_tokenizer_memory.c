/* Lets memory run out at every place in turn: test_tokenizer_memory FILE.
 *
 * To be linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc, and with -fsanitize=address, which finds what is left
 * behind. Every failure must be told as one of memory, and a try with enough of it must go well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeadapt.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);

static long allowed = -1; /* how many more times memory is given; below 0: always */

static int refused(void)
{
    if (allowed > 0)
        allowed--;
    return allowed == 0;
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return refused() ? NULL : __real_realloc(data, size);
}

int main(int count, char **arguments)
{
    static const char text[] = "Hello wo\xCC\x88rld, \xEA\xB0\x80\xE1\x86\xA8 1234 <mask> don't STOP\n\n e\xCC\xA3\xCC\x87 \xE4\xB8\xAD "
                               "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz a b c d e f g";
    if (count != 2)
        return 2;
    for (long most = 1;; most++) {
        ea_tokenizer *tokenizer;
        ea_tokens tokens = {0};
        ea_error error;
        allowed = most;
        ea_status status = ea_tokenizer_open(arguments[1], &tokenizer, &error);
        if (status == EA_OK)
            status = ea_tokenizer_encode(tokenizer, text, sizeof text - 1, text, 18, 0, &tokens, &error);
        int enough = allowed != 0;
        allowed = -1;
        ea_tokens_free(&tokens);
        ea_tokenizer_close(tokenizer);
        /* What opens the file may do without the memory that it asked for. */
        if (status != EA_MEMORY_ERROR && status != EA_OK && strstr(error.message, "can't be opened") == NULL) {
            fprintf(stderr, "%ld: status %d: %s\n", most, (int)status, error.message);
            return 1;
        }
        if (enough)
            return status == EA_OK ? (printf("%ld times\n", most), 0) : 1;
    }
}
