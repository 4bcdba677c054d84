#include "post_process.h"

#include <string.h>

/* Without a processor, texts follow each other and have the type ids 0 and 1. */
static const eai_template_piece post_plain[] = {{.text = 0, .type_id = 0}, {.text = 1, .type_id = 1}};

/* Reads ["[SEP]", 102]. */
static bool post_read_token(eai_reading *reading, const eai_value *pair, const uint32_t **ids)
{
    if (pair->count != 2 || pair->first->kind != EAI_STRING)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "post_processor: expected [token, id] as cls and sep");
    uint32_t *id = eai_take(reading->arena, 1, sizeof *id);
    *ids = id;
    return id ? eai_reading_number(reading, "an id in post_processor", pair->first->next, id) : eai_reading_no_memory(reading);
}

/* Makes a template of BERT or RoBERTa: "cls A sep", and with a pair "B sep" of type 1, or "sep B sep" of type 0. */
static bool post_make_template(eai_reading *reading, bool roberta, bool pair, const uint32_t *cls, const uint32_t *sep,
                               eai_template *template)
{
    eai_template_piece *pieces = eai_take(reading->arena, 6, sizeof *pieces);
    if (!pieces)
        return eai_reading_no_memory(reading);
    size_t count = 0;
    uint32_t second = !roberta;
    pieces[count++] = (eai_template_piece){-1, 0, cls, 1};
    pieces[count++] = (eai_template_piece){0, 0, NULL, 0};
    pieces[count++] = (eai_template_piece){-1, 0, sep, 1};
    if (pair && roberta)
        pieces[count++] = (eai_template_piece){-1, 0, sep, 1};
    if (pair) {
        pieces[count++] = (eai_template_piece){1, second, NULL, 0};
        pieces[count++] = (eai_template_piece){-1, second, sep, 1};
    }
    *template = (eai_template){pieces, count, !pair ? 2 : roberta ? 4 : 3};
    return true;
}

static bool post_read_bert(eai_reading *reading, const eai_value *object, bool roberta, eai_post_processor *processor)
{
    const eai_value *cls_pair, *sep_pair;
    const uint32_t *cls, *sep;
    bool flag;
    return eai_reading_fields(reading, "post_processor", object,
                              roberta ? "type sep@ cls@ trim_offsets! add_prefix_space! " : "type sep@ cls@ ", &sep_pair,
                              &cls_pair, &flag, &flag) &&
           post_read_token(reading, cls_pair, &cls) && post_read_token(reading, sep_pair, &sep) &&
           post_make_template(reading, roberta, false, cls, sep, &processor->single) &&
           post_make_template(reading, roberta, true, cls, sep, &processor->pair);
}

/* Finds the ids of a special token of a template: {"[CLS]": {"id": "[CLS]", "ids": [101], "tokens": ["[CLS]"]}}. */
static bool post_find_special(eai_reading *reading, const eai_value *specials, const eai_value *name,
                              eai_template_piece *piece)
{
    static const char where[] = "a token in post_processor.special_tokens";
    const eai_value *special = specials->first, *ids, *tokens;
    while (special && (special->key_length != name->length || memcmp(special->key, name->text, name->length) != 0))
        special = special->next;
    if (!special)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "post_processor.special_tokens: \"%.100s\" is not there", name->text);
    if (!eai_reading_fields(reading, where, special, "id ids@ tokens@ ", &ids, &tokens))
        return false;
    if (ids->count != tokens->count)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: it has %zu ids and %zu tokens", where, ids->count, tokens->count);
    uint32_t *numbers = eai_take(reading->arena, ids->count, sizeof *numbers);
    if (!numbers)
        return eai_reading_no_memory(reading);
    piece->ids = numbers;
    for (const eai_value *id = ids->first; id; id = id->next)
        if (!eai_reading_number(reading, where, id, &numbers[piece->count++]))
            return false;
    return true;
}

static bool post_read_piece(eai_reading *reading, const char *where, const eai_value *object, bool pair,
                            const eai_value *specials, eai_template_piece *piece)
{
    const eai_value *id;
    if (!eai_reading_fields(reading, where, object, "SpecialToken Sequence "))
        return false;
    if (object->count != 1)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: expected a SpecialToken or a Sequence in each piece", where);
    if (!eai_reading_fields(reading, where, object->first, "id$ type_id# ", &id, &piece->type_id))
        return false;
    piece->text = -1;
    if (eai_json_get(object, "SpecialToken"))
        return post_find_special(reading, specials, id, piece);
    if (!eai_text_is(id, "A") && !(pair && eai_text_is(id, "B")))
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s: the sequence \"%.100s\" is not there", where, id->text);
    piece->text = eai_text_is(id, "B");
    return true;
}

static bool post_read_template(eai_reading *reading, const eai_value *list, const eai_value *specials, bool pair,
                               eai_template *template)
{
    const char *where = pair ? "post_processor.pair" : "post_processor.single";
    eai_template_piece *pieces = eai_take(reading->arena, list->count, sizeof *pieces);
    if (!pieces)
        return eai_reading_no_memory(reading);
    *template = (eai_template){.pieces = pieces};
    for (const eai_value *piece = list->first; piece; piece = piece->next) {
        if (!post_read_piece(reading, where, piece, pair, specials, &pieces[template->count]))
            return false;
        template->special += pieces[template->count++].count;
    }
    return true;
}

/* Reads one processor; `done` says whether there was one before that adds tokens. */
static bool post_read(eai_reading *reading, const char *where, const eai_value *object, eai_post_processor *processor,
                      bool *done)
{
    const eai_value *type, *members;
    bool flag;
    if (!eai_reading_type(reading, where, object, &type))
        return false;
    if (eai_text_is(type, "ByteLevel")) /* it trims offsets, and leaves tokens as they are */
        return eai_reading_fields(reading, where, object, "type add_prefix_space! trim_offsets! use_regex+ ", &flag, &flag,
                                  &flag);
    if (eai_text_is(type, "Sequence")) {
        if (!eai_reading_fields(reading, where, object, "type processors@ ", &members))
            return false;
        for (const eai_value *member = members->first; member; member = member->next)
            if (!post_read(reading, "a post-processor of a Sequence", member, processor, done))
                return false;
        return true;
    }
    bool bert = eai_text_is(type, "BertProcessing"), roberta = eai_text_is(type, "RobertaProcessing");
    if (!bert && !roberta && !eai_text_is(type, "TemplateProcessing"))
        return eai_reading_no_type(reading, where, type);
    if (*done)
        return eai_reading_fail(reading, EA_UNSUPPORTED_ERROR, "%s: a second one that adds tokens is not supported", where);
    *done = true;
    if (bert || roberta)
        return post_read_bert(reading, object, roberta, processor);
    const eai_value *single, *pair, *specials = eai_json_get(object, "special_tokens");
    if (!eai_reading_fields(reading, where, object, "type single@ pair@ special_tokens ", &single, &pair))
        return false;
    if (!specials || specials->kind != EAI_OBJECT)
        return eai_reading_fail(reading, EA_BUNDLE_ERROR, "%s.special_tokens: expected an object", where);
    return post_read_template(reading, single, specials, false, &processor->single) &&
           post_read_template(reading, pair, specials, true, &processor->pair);
}

bool eai_post_processor_read(eai_reading *reading, const eai_value *object, eai_post_processor *processor)
{
    bool done = false;
    processor->single = (eai_template){post_plain, 1, 0};
    processor->pair = (eai_template){post_plain, 2, 0};
    return !object || object->kind == EAI_NULL || post_read(reading, "post_processor", object, processor, &done);
}

void eai_cut_longest_first(size_t most, size_t *first, size_t *second)
{
    if (!second) {
        if (*first > most)
            *first = most;
        return;
    }
    bool swapped = *first > *second;
    size_t *shorter = swapped ? second : first, *longer = swapped ? first : second;
    if (*first <= most && *second <= most - *first)
        return;
    if (*shorter <= most && *shorter <= most - *shorter) {
        *longer = most - *shorter;
        return;
    }
    *shorter = most / 2;
    *longer = most / 2 + most % 2;
}
