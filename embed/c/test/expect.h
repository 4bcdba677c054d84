/* What tests expect, and what they count of it. */
#ifndef EDGEADAPT_TEST_EXPECT_H
#define EDGEADAPT_TEST_EXPECT_H

#include <stdbool.h>
#include <stdio.h>

static int passed, failed;

static inline void expect(bool holds, const char *what, int line)
{
    passed += holds;
    failed += !holds;
    if (!holds)
        printf("FAILED line %d: %s\n", line, what);
}

#define EXPECT(what) expect((what), #what, __LINE__)

/* Tells the counts; returns what the program does. */
static inline int told(void)
{
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}

#endif
