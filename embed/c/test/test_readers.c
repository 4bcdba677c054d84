/* What the conformance cases don't ask of the rooms below the interface: JSON, dtypes, and names. */
#include "edgeadapt.h"

#include "dtype.h"
#include "expect.h"
#include "json.h"
#include "names.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_json(void)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "[1 2]",
                                      "nul",
                                      "NaN",
                                      "-Infinity",
                                      "01",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "+1",
                                      "1e999",
                                      "\"\\x\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\\ud800\"",
                                      "\"\t\"",
                                      "\"",
                                      "\"\\u12\"",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "[] []",
                                      "\xEF\xBB\xBF[]",
                                      "\"\xED\xA0\x80\"",
                                      "\"\xC0\xAF\"",
                                      "\"\xF4\x90\x80\x80\"",
                                      "'a'",
                                      "[1]x",
                                      "{1:2}",
                                      "{\"a\" 1}",
                                      "-",
                                      "--1",
                                      "1e+",
                                      "[}",
                                      "{]",
                                      "tru",
                                      "/**/[]"};
    char reason[200];
    for (size_t index = 0; index < sizeof bad / sizeof *bad; index++) {
        eai_document *document = eai_json_parse(bad[index], strlen(bad[index]), reason, sizeof reason);
        expect(!document, bad[index], __LINE__);
        eai_json_free(document);
    }
    const char *text =
        " {\"a\": [1, -0, 1.5, 9223372036854775807, -9223372036854775808, 9223372036854775808, 1e2],"
        "\"\\u00e9\\ud83d\\ude00\": \"x\\u0000y\\/\", \"n\": null, \"t\": true, \"f\": false, \"e\": {}} ";
    eai_document *document = eai_json_parse(text, strlen(text), reason, sizeof reason);
    EXPECT(document);
    const eai_value *root = eai_json_root(document), *numbers = eai_json_get(root, "a")->first;
    EXPECT(root->count == 6 && eai_json_get(root, "a")->count == 7 && !eai_json_get(root, "b"));
    EXPECT(numbers->whole && numbers->integer == 1 && numbers->next->whole && numbers->next->integer == 0);
    numbers = numbers->next->next;
    EXPECT(!numbers->whole && numbers->number == 1.5);
    numbers = numbers->next;
    EXPECT(numbers->whole && numbers->integer == INT64_MAX);
    numbers = numbers->next;
    EXPECT(numbers->whole && numbers->integer == INT64_MIN);
    numbers = numbers->next;
    EXPECT(!numbers->whole && numbers->number == 9223372036854775808.0 && numbers->next->number == 100);
    const eai_value *escaped = eai_json_get(root, "\xC3\xA9\xF0\x9F\x98\x80");
    EXPECT(escaped && escaped->length == 4 && memcmp(escaped->text, "x\0y/", 5) == 0);
    EXPECT(eai_json_get(root, "e")->kind == EAI_OBJECT && eai_json_get(root, "n")->kind == EAI_NULL);
    eai_json_free(document);
    /* As deep as allowed, and one deeper; nothing recurses. */
    char deep[1100];
    for (int depth = 512; depth <= 513; depth++) {
        memset(deep, '[', 513);
        memset(deep + depth, ']', 513);
        document = eai_json_parse(deep, 2 * (size_t)depth, reason, sizeof reason);
        EXPECT((document != NULL) == (depth == 512));
        eai_json_free(document);
    }
}

static void test_locale(void)
{
    char reason[200];
    bool comma = setlocale(LC_NUMERIC, "de_DE.UTF-8") || setlocale(LC_NUMERIC, "fr_FR.UTF-8");
    eai_document *document = eai_json_parse("[0.125]", 7, reason, sizeof reason);
    EXPECT(document && eai_json_root(document)->first->number == 0.125);
    eai_json_free(document);
    setlocale(LC_NUMERIC, "C");
    if (!comma)
        printf("no locale with a decimal comma is installed: numbers were read in the C locale alone\n");
}

static uint16_t half(double number)
{
    uint16_t bits = 0xFFFF;
    return eai_fill(&bits, 1, EA_FLOAT16, number) ? bits : 0xFFFF;
}

static void test_dtypes(void)
{
    EXPECT(half(0) == 0 && half(-0.0) == 0x8000 && half(1) == 0x3C00 && half(-2) == 0xC000 && half(65504) == 0x7BFF);
    EXPECT(half(65519.99) == 0x7BFF && half(65520) == 0xFFFF);    /* infinity is refused */
    EXPECT(half(ldexp(1, -24)) == 1 && half(ldexp(1, -25)) == 0); /* ties to even */
    EXPECT(half(ldexp(3, -25)) == 2 && half(ldexp(1023.5, -24)) == 0x400);
    EXPECT(half(2049) == 0x6800 && half(2051) == 0x6802 && half(1e-300) == 0);
    EXPECT(half(1.0 + ldexp(1, -11) + ldexp(1, -40)) == 0x3C01); /* rounded once */
    int64_t wide;
    uint8_t narrow;
    float single;
    EXPECT(eai_fill(&wide, 1, EA_INT64, -5) && wide == -5 && !eai_fill(&wide, 1, EA_INT64, 9223372036854775808.0));
    EXPECT(eai_fill(&narrow, 1, EA_UINT8, 255) && narrow == 255 && !eai_fill(&narrow, 1, EA_UINT8, 256));
    EXPECT(!eai_fill(&narrow, 1, EA_UINT8, -1) && !eai_fill(&wide, 1, EA_INT64, 0.5));
    EXPECT(!eai_fill(&single, 1, EA_FLOAT32, 1e39) && eai_fill(&single, 1, EA_FLOAT32, 0.1) && single == 0.1f);
    size_t bytes;
    EXPECT(!eai_array_bytes((int64_t[]){INT64_MAX, INT64_MAX}, 2, EA_INT64, &bytes));
    EXPECT(eai_array_bytes((int64_t[]){INT64_MAX, 0, INT64_MAX}, 3, EA_INT64, &bytes) && bytes == 0);
    EXPECT(!eai_array_bytes((int64_t[]){-1}, 1, EA_INT8, &bytes));
    EXPECT(eai_array_bytes(NULL, 0, EA_FLOAT64, &bytes) && bytes == 8);
    EXPECT(!ea_dtype_name((ea_dtype)8) && !ea_dtype_size((ea_dtype)0) && !ea_dtype_name((ea_dtype)-1));
}

static void test_names(void)
{
    EXPECT(!eai_name_problem("spam-v2", 7) && eai_name_problem("", 0) && eai_name_problem("-a", 2));
    EXPECT(eai_name_problem("nul", 3) && eai_name_problem("COM1.x", 6) && !eai_name_problem("com", 3));
    EXPECT(eai_name_problem("a.", 2) && eai_name_problem("None", 4) && !eai_name_problem("none", 4));
    EXPECT(eai_name_problem("a\0b", 3) && eai_name_problem("\xC3\xA9", 2));
    EXPECT(!eai_path_problem("a/b.c", 5) && eai_path_problem("../a", 4) && eai_path_problem("a//b", 4));
    EXPECT(eai_path_problem("/a", 2) && eai_path_problem("a/.", 3) && eai_path_problem("a/con.x", 7));
    EXPECT(eai_path_problem("a\0b", 3) && eai_path_problem("a\\b", 3) && eai_path_problem("a/b ", 4));
}

int main(void)
{
    test_json();
    test_locale();
    test_dtypes();
    test_names();
    return told();
}
