/* A tokenizer.json of the Hugging Face tokenizers library, to the same ids and type ids (shown with 0.22.2 and 0.23.3):
 *
 *   normalizer      BertNormalizer, Lowercase, NFC, NFD, Prepend, Replace of a String, Sequence, StripAccents
 *   added_tokens    special or not, with single_word, lstrip, rstrip and normalized
 *   pre_tokenizer   BertPreTokenizer, ByteLevel, Digits, Sequence, Split by the patterns of word_pattern.h
 *   model           BPE without dropout, affixes and byte_fallback; WordPiece
 *   post_processor  BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing
 *
 * All else is refused by name when the file is opened. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "added_tokens.h"
#include "bpe.h"
#include "normalise.h"
#include "post_process.h"
#include "pre_tokenise.h"
#include "unicode.h"
#include "vocabulary.h"
#include "wordpiece.h"

struct ea_tokenizer {
    eai_arena arena; /* of everything below, and of the tokenizer */
    const eai_normaliser *normaliser;
    const eai_pre_tokeniser *pre_tokeniser;
    eai_added_tokens added;
    eai_vocabulary vocabulary;
    eai_bpe *bpe; /* or NULL, where the model is WordPiece */
    eai_wordpiece wordpiece;
    eai_post_processor processor;
};

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static bool tokenizer_read_file(eai_reading *reading, eai_string *bytes)
{
    FILE *file = fopen(reading->file, "rb");
    if (!file)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "it can't be opened: %s", strerror(errno));
    size_t count = 1;
    bool room = true;
    while (count && (room = eai_string_reserve(bytes, bytes->size + (1 << 16)))) {
        count = fread(bytes->data + bytes->size, 1, bytes->room - bytes->size, file);
        bytes->size += count;
    }
    bool failed = ferror(file);
    fclose(file);
    if (!room)
        return eai_reading_no_memory(reading);
    return !failed || eai_reading_fail(reading, EA_BUNDLE_ERROR, "it can't be read");
}

/* Truncation and padding are the caller's, and the decoder is for texts: what the file says of them is not used. */
static bool tokenizer_read_head(eai_reading *reading, const eai_value *root)
{
    const eai_value *version;
    if (!eai_reading_fields(reading, "tokenizer", root,
                            "version? truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model ",
                            &version))
        return false;
    if (version && !eai_text_is(version, "1.0"))
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "the version \"%.100s\" is not supported", version->text);
    return true;
}

static bool tokenizer_read_model(eai_reading *reading, const eai_value *model, ea_tokenizer *tokenizer)
{
    const eai_value *type = model ? eai_json_get(model, "type") : NULL;
    /* Older files don't say the type, and have one of these two as the library tells them apart. */
    bool bpe = type ? eai_text_is(type, "BPE") : model && eai_json_get(model, "merges");
    bool wordpiece = type ? eai_text_is(type, "WordPiece") : model && eai_json_get(model, "max_input_chars_per_word");
    if (!bpe && !wordpiece)
        return type && type->kind == EAI_STRING
                   ? eai_reading_no_type(reading, "model", type)
                   : eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "model: expected BPE or WordPiece");
    if (!eai_vocabulary_read(reading, eai_json_get(model, "vocab"), &tokenizer->vocabulary))
        return false;
    if (!bpe)
        return eai_wordpiece_read(reading, model, &tokenizer->vocabulary, &tokenizer->wordpiece);
    tokenizer->bpe = eai_take(&tokenizer->arena, 1, sizeof *tokenizer->bpe);
    if (!tokenizer->bpe)
        return eai_reading_no_memory(reading);
    return eai_bpe_read(reading, model, &tokenizer->vocabulary, tokenizer->bpe);
}

static bool tokenizer_read(eai_reading *reading, ea_tokenizer *tokenizer)
{
    char problem[512] = "";
    eai_string bytes = {0};
    eai_document *document = NULL;
    bool read = tokenizer_read_file(reading, &bytes);
    if (read) {
        document = eai_json_parse(bytes.data, bytes.size, problem, sizeof problem);
        if (!document && strcmp(problem, EAI_JSON_NO_MEMORY) == 0)
            read = eai_reading_no_memory(reading);
        else if (!document)
            read = eai_reading_fail(reading, EA_BUNDLE_ERROR, "it is not JSON: %s", problem);
    }
    free(bytes.data);
    if (!read)
        return false;
    const eai_value *root = eai_json_root(document);
    read = tokenizer_read_head(reading, root) && tokenizer_read_model(reading, eai_json_get(root, "model"), tokenizer) &&
           eai_normaliser_read(reading, eai_json_get(root, "normalizer"), &tokenizer->normaliser) &&
           eai_pre_tokeniser_read(reading, eai_json_get(root, "pre_tokenizer"), &tokenizer->pre_tokeniser) &&
           eai_post_processor_read(reading, eai_json_get(root, "post_processor"), &tokenizer->processor) &&
           eai_added_tokens_read(reading, eai_json_get(root, "added_tokens"), &tokenizer->vocabulary,
                                 tokenizer->normaliser, &tokenizer->added);
    eai_json_free(document);
    return read;
}

ea_status ea_tokenizer_open(const char *tokenizer_json_path, ea_tokenizer **tokenizer, ea_error *error)
{
    eai_clear(error);
    if (!tokenizer)
        return eai_fail(error, EA_CONFIG_ERROR, "ea_tokenizer_open: `tokenizer` is NULL.");
    *tokenizer = NULL;
    if (!tokenizer_json_path)
        return eai_fail(error, EA_CONFIG_ERROR, "ea_tokenizer_open: `tokenizer_json_path` is NULL.");
    ea_tokenizer *made = calloc(1, sizeof *made);
    if (!made)
        return eai_no_memory(error);
    eai_reading reading = {tokenizer_json_path, &made->arena, error, EA_OK};
    if (!tokenizer_read(&reading, made)) {
        ea_tokenizer_close(made);
        return reading.status;
    }
    *tokenizer = made;
    return EA_OK;
}

void ea_tokenizer_close(ea_tokenizer *tokenizer)
{
    if (tokenizer)
        eai_free_all(&tokenizer->arena);
    free(tokenizer);
}

/* ---- Encoding ---------------------------------------------------------------------------------------------------- */

/* One text as it is encoded. */
typedef struct tokenizer_encoding {
    const ea_tokenizer *tokenizer;
    eai_outcome outcome;
    eai_words ids;
    eai_normalising normalising;
    eai_string buffers[EAI_PRE_TOKENISER_BUFFERS];
    eai_merging merging;
} tokenizer_encoding;

static bool tokenizer_more(tokenizer_encoding *encoding, eai_outcome outcome)
{
    encoding->outcome = outcome;
    return outcome == EAI_DONE;
}

static bool tokenizer_take_word(void *taker, const char *word, size_t length)
{
    tokenizer_encoding *encoding = taker;
    const ea_tokenizer *tokenizer = encoding->tokenizer;
    return tokenizer_more(encoding, tokenizer->bpe ? eai_bpe_word(tokenizer->bpe, &tokenizer->vocabulary, word, length,
                                                                  &encoding->merging, &encoding->ids)
                                                   : eai_wordpiece_word(&tokenizer->wordpiece, &tokenizer->vocabulary, word,
                                                                        length, &encoding->ids));
}

static bool tokenizer_take_token(tokenizer_encoding *encoding, const char *text, const eai_added_token *token)
{
    if (!text)
        return tokenizer_more(encoding, EAI_OVERLAP);
    return tokenizer_more(encoding, eai_words_add(&encoding->ids, token->id) ? EAI_DONE : EAI_NO_MEMORY);
}

static bool tokenizer_take_normalised(void *taker, const char *text, size_t length, const eai_added_token *token)
{
    tokenizer_encoding *encoding = taker;
    if (token)
        return tokenizer_take_token(encoding, text, token);
    return eai_pre_tokenise(encoding->tokenizer->pre_tokeniser, text, length, encoding->buffers, tokenizer_take_word,
                            encoding) ||
           tokenizer_more(encoding, encoding->outcome == EAI_DONE ? EAI_NO_MEMORY : encoding->outcome);
}

static bool tokenizer_take_plain(void *taker, const char *text, size_t length, const eai_added_token *token)
{
    tokenizer_encoding *encoding = taker;
    if (token)
        return tokenizer_take_token(encoding, text, token);
    eai_normalising *normalising = &encoding->normalising;
    normalising->text.size = 0;
    if (!eai_string_add(&normalising->text, text, length) || !eai_normalise(encoding->tokenizer->normaliser, normalising))
        return tokenizer_more(encoding, EAI_NO_MEMORY);
    return !normalising->text.size || eai_added_split(&encoding->tokenizer->added.normalised, normalising->text.data,
                                                      normalising->text.size, tokenizer_take_normalised, encoding);
}

static ea_status tokenizer_encode_text(tokenizer_encoding *encoding, const char *text, size_t length, ea_error *error)
{
    if (!text && length)
        return eai_fail(error, EA_INPUT_ERROR, "The text is NULL, and has bytes.");
    if (length > INT32_MAX)
        return eai_fail(error, EA_INPUT_ERROR, "The text is longer than 2147483647 bytes.");
    size_t valid = length ? eai_utf8_valid(text, length) : 0;
    if (valid < length)
        return eai_fail(error, EA_INPUT_ERROR, "The text is not UTF-8 from byte %zu on.", valid);
    encoding->outcome = EAI_DONE;
    if (length)
        eai_added_split(&encoding->tokenizer->added.plain, text, length, tokenizer_take_plain, encoding);
    if (encoding->outcome == EAI_NO_MEMORY)
        return eai_no_memory(error);
    if (encoding->outcome == EAI_OVERLAP)
        return eai_fail(error, EA_UNSUPPORTED_ERROR,
                        "An added token lies within the spaces that the one before it takes, which is not supported.");
    if (encoding->outcome == EAI_UNKNOWN)
        return eai_fail(error, EA_BUNDLE_ERROR,
                              "The tokenizer's vocabulary lacks a word of the text, and the token for such words, too.");
    return EA_OK;
}

/* Writes the tokens of one text or a pair, with special tokens. */
static ea_status tokenizer_write(const eai_template *template, const tokenizer_encoding *first, size_t first_count,
                                 const tokenizer_encoding *second, size_t second_count, ea_tokens *tokens, ea_error *error)
{
    size_t count = 0;
    for (size_t index = 0; index < template->count; index++) {
        const eai_template_piece *piece = &template->pieces[index];
        count += piece->text < 0 ? piece->count : piece->text ? second_count : first_count;
        if (count > INT32_MAX)
            return eai_fail(error, EA_INPUT_ERROR, "The text has more than 2147483647 tokens.");
    }
    tokens->ids = malloc((count + 1) * sizeof *tokens->ids);
    tokens->type_ids = malloc((count + 1) * sizeof *tokens->type_ids);
    if (!tokens->ids || !tokens->type_ids) {
        ea_tokens_free(tokens);
        return eai_no_memory(error);
    }
    for (size_t index = 0; index < template->count; index++) {
        const eai_template_piece *piece = &template->pieces[index];
        const uint32_t *ids = piece->text < 0 ? piece->ids : piece->text ? second->ids.data : first->ids.data;
        size_t more = piece->text < 0 ? piece->count : piece->text ? second_count : first_count;
        for (size_t at = 0; at < more; at++) {
            tokens->ids[tokens->count] = ids[at];
            tokens->type_ids[tokens->count++] = piece->type_id;
        }
    }
    return EA_OK;
}

static void tokenizer_encoding_free(tokenizer_encoding *encoding)
{
    free(encoding->ids.data);
    eai_normalising_free(&encoding->normalising);
    for (size_t index = 0; index < EAI_PRE_TOKENISER_BUFFERS; index++)
        free(encoding->buffers[index].data);
    eai_merging_free(&encoding->merging);
}

ea_status ea_tokenizer_encode(const ea_tokenizer *tokenizer, const char *text, size_t text_bytes, const char *pair,
                              size_t pair_bytes, size_t max_length, ea_tokens *tokens, ea_error *error)
{
    eai_clear(error);
    if (!tokens)
        return eai_fail(error, EA_CONFIG_ERROR, "ea_tokenizer_encode: `tokens` is NULL.");
    *tokens = (ea_tokens){0};
    if (!tokenizer)
        return eai_fail(error, EA_CONFIG_ERROR, "ea_tokenizer_encode: `tokenizer` is NULL.");
    const eai_template *template = pair ? &tokenizer->processor.pair : &tokenizer->processor.single;
    if (max_length && max_length < template->special)
        return eai_fail(error, EA_INPUT_ERROR, "A `max_length` of %zu leaves no room for %zu special tokens.", max_length,
                        template->special);
    tokenizer_encoding first = {.tokenizer = tokenizer}, second = first;
    ea_status status = tokenizer_encode_text(&first, text, text_bytes, error);
    if (status == EA_OK && pair)
        status = tokenizer_encode_text(&second, pair, pair_bytes, error);
    if (status == EA_OK) {
        size_t first_count = first.ids.size, second_count = second.ids.size;
        if (max_length)
            eai_cut_longest_first(max_length - template->special, &first_count, pair ? &second_count : NULL);
        status = tokenizer_write(template, &first, first_count, &second, second_count, tokens, error);
    }
    tokenizer_encoding_free(&first);
    tokenizer_encoding_free(&second);
    return status;
}

void ea_tokens_free(ea_tokens *tokens)
{
    if (!tokens)
        return;
    free(tokens->ids);
    free(tokens->type_ids);
    *tokens = (ea_tokens){0};
}
