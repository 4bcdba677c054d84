#include "manifest_schema.h"

#include <string.h>

/* A text of one of these types can be the key of a map. */
static const eai_rule rule_any_text = {.type = EAI_ANY_TEXT}, rule_text = {.type = EAI_TEXT},
                      rule_path = {.type = EAI_PATH}, rule_size = {.type = EAI_SIZE}, rule_count = {.type = EAI_COUNT},
                      rule_number = {.type = EAI_DOUBLE}, rule_positive = {.type = EAI_POSITIVE},
                      rule_dimension = {.type = EAI_DIMENSION}, rule_slot_dimension = {.type = EAI_SLOT_DIMENSION};

static const eai_field fields_file[] = {{"bytes", {.type = EAI_SIZE}}, {"sha256", {.type = EAI_DIGEST}}, {0}};
static const eai_rule rule_file = {.type = EAI_RECORD, .fields = fields_file};

static const eai_field fields_tensor[] = {{"name", {.type = EAI_TEXT}},
                                          {"dtype", {.type = EAI_DTYPE}},
                                          {"shape", {.type = EAI_LIST, .inner = &rule_dimension}},
                                          {0}};
static const eai_rule rule_tensor = {.type = EAI_RECORD, .fields = fields_tensor};

static const eai_field fields_neutral[] = {
    {"shape", {.type = EAI_LIST, .inner = &rule_count}}, {"fill", {.type = EAI_DOUBLE}}, {0}};

static const eai_field fields_slot[] = {
    {"name", {.type = EAI_TEXT}},
    {"method", {.type = EAI_TEXT}},
    {"site", {.type = EAI_ANY_TEXT}},
    {"param", {.type = EAI_TEXT}},
    {"dtype", {.type = EAI_DTYPE}},
    {"shape", {.type = EAI_LIST, .inner = &rule_slot_dimension}},
    {"neutral", {.type = EAI_STORED_OR, .null = true, .fields = fields_neutral}},
    {0}};
static const eai_rule rule_slot = {.type = EAI_RECORD, .fields = fields_slot};

static const eai_field fields_model[] = {{"file", {.type = EAI_PATH}},
                                         {"neutrals", {.type = EAI_PATH, .null = true}},
                                         {"precision", {.type = EAI_TEXT}},
                                         {"opset", {.type = EAI_COUNT}},
                                         {"onnxruntime", {.type = EAI_AT_LEAST}},
                                         {0}};

static const eai_field fields_tokenizer[] = {{"file", {.type = EAI_PATH}},
                                             {"max_length", {.type = EAI_COUNT}},
                                             {"padding_side", {.type = EAI_SIDE}},
                                             {"pad_id", {.type = EAI_SIZE}},
                                             {"pad_token", {.type = EAI_ANY_TEXT}},
                                             {"pad_type_id", {.type = EAI_SIZE}},
                                             {"mask_token", {.type = EAI_ANY_TEXT, .null = true}},
                                             {0}};

static bool schema_resize(const eai_value *sizes)
{
    return (sizes->count == 2 && eai_json_get(sizes, "height") && eai_json_get(sizes, "width")) ||
           (sizes->count == 1 && eai_json_get(sizes, "shortest_edge"));
}

static const eai_field fields_image[] = {{"height", {.type = EAI_COUNT}},
                                         {"width", {.type = EAI_COUNT}},
                                         {"resize",
                                          {.type = EAI_MAP,
                                           .keys = &rule_any_text,
                                           .inner = &rule_count,
                                           .only = schema_resize,
                                           .only_expected = "the keys height and width, or shortest_edge"}},
                                         {"resample", {.type = EAI_FILTER}},
                                         {"crop", {.type = EAI_LIST, .null = true, .exactly = 2, .inner = &rule_count}},
                                         {"rescale", {.type = EAI_DOUBLE}},
                                         {"mean", {.type = EAI_LIST, .inner = &rule_number}},
                                         {"std", {.type = EAI_LIST, .inner = &rule_positive}},
                                         {0}};

static const eai_field fields_chat[] = {{"file", {.type = EAI_PATH}},
                                        {"tokens", {.type = EAI_MAP, .keys = &rule_text, .inner = &rule_any_text}},
                                        {0}};

static const eai_field fields_decoder[] = {{"eos_ids", {.type = EAI_LIST, .inner = &rule_size}},
                                           {"positions", {.type = EAI_COUNT, .null = true}},
                                           {"chat", {.type = EAI_RECORD, .null = true, .fields = fields_chat}},
                                           {0}};

static const eai_field fields_rules[] = {{"repetition_penalty", {.type = EAI_POSITIVE}},
                                         {"no_repeat_ngram_size", {.type = EAI_SIZE}},
                                         {"min_length", {.type = EAI_SIZE}},
                                         {"min_new_tokens", {.type = EAI_SIZE}},
                                         {"forced_bos_token_id", {.type = EAI_SIZE, .null = true}},
                                         {"forced_eos_token_ids", {.type = EAI_LIST, .inner = &rule_size}},
                                         {"suppress_tokens", {.type = EAI_LIST, .inner = &rule_size}},
                                         {"begin_suppress_tokens", {.type = EAI_LIST, .inner = &rule_size}},
                                         {0}};

static const eai_field fields_encoder[] = {{"file", {.type = EAI_PATH}},
                                           {"inputs", {.type = EAI_LIST, .inner = &rule_tensor}},
                                           {"outputs", {.type = EAI_LIST, .inner = &rule_tensor}},
                                           {"positions", {.type = EAI_COUNT, .null = true}},
                                           {0}};

static const eai_field fields_speech[] = {{"sampling_rate", {.type = EAI_COUNT}},
                                          {"samples", {.type = EAI_COUNT}},
                                          {"fft", {.type = EAI_COUNT}},
                                          {"hop", {.type = EAI_COUNT}},
                                          {"mels", {.type = EAI_COUNT}},
                                          {"languages", {.type = EAI_MAP, .keys = &rule_text, .inner = &rule_size}},
                                          {"tasks", {.type = EAI_MAP, .keys = &rule_text, .inner = &rule_size}},
                                          {"no_timestamps", {.type = EAI_SIZE}},
                                          {0}};

static const eai_field fields_encoder_decoder[] = {
    {"eos_ids", {.type = EAI_LIST, .inner = &rule_size}},
    {"positions", {.type = EAI_COUNT, .null = true}},
    {"start_ids", {.type = EAI_LIST, .least = 1, .inner = &rule_size}},
    {"rules", {.type = EAI_RECORD, .fields = fields_rules}},
    {"encoder", {.type = EAI_RECORD, .fields = fields_encoder}},
    {"speech", {.type = EAI_RECORD, .null = true, .fields = fields_speech}},
    {0}};
static const eai_rule rule_encoder_decoder = {.type = EAI_RECORD, .fields = fields_encoder_decoder};

static const eai_field fields_manifest[] = {
    {"format", {.type = EAI_TEXT}},
    {"producer", {.type = EAI_TEXT}},
    {"task", {.type = EAI_TEXT}},
    {"model_type", {.type = EAI_TEXT}},
    {"fingerprint", {.type = EAI_FINGERPRINT}},
    {"model", {.type = EAI_RECORD, .fields = fields_model}},
    {"inputs", {.type = EAI_LIST, .inner = &rule_tensor}},
    {"outputs", {.type = EAI_LIST, .inner = &rule_tensor}},
    {"slots", {.type = EAI_LIST, .inner = &rule_slot}},
    {"labels", {.type = EAI_LIST, .null = true, .least = 1, .inner = &rule_any_text}},
    {"problem_type", {.type = EAI_PROBLEM_TYPE, .null = true}},
    {"tokenizer", {.type = EAI_RECORD, .null = true, .fields = fields_tokenizer}},
    {"image", {.type = EAI_RECORD, .null = true, .fields = fields_image}},
    {"generation", {.type = EAI_GENERATION, .null = true, .fields = fields_decoder, .inner = &rule_encoder_decoder}},
    {"files", {.type = EAI_MAP, .keys = &rule_path, .inner = &rule_file}},
    {0}};
const eai_rule eai_manifest_rule = {.type = EAI_RECORD, .fields = fields_manifest};

static bool schema_facts(const eai_value *facts)
{
    return facts->count == 0 || (facts->count == 1 && eai_json_get(facts, "rank"));
}

static const eai_rule rule_facts = {.type = EAI_MAP,
                                    .keys = &rule_any_text,
                                    .inner = &rule_count,
                                    .only = schema_facts,
                                    .only_expected = "only 'rank'"};
static const eai_rule rule_site = {.type = EAI_MAP, .keys = &rule_text, .inner = &rule_facts};

static const eai_field fields_parity[] = {{"reference", {.type = EAI_TEXT}},
                                          {"max_abs_error", {.type = EAI_DOUBLE}},
                                          {"effect", {.type = EAI_DOUBLE}},
                                          {"cosine", {.type = EAI_DOUBLE}},
                                          {"top1_agreement", {.type = EAI_DOUBLE, .null = true}},
                                          {"tolerance", {.type = EAI_DOUBLE}},
                                          {0}};

static const eai_field fields_adapter[] = {
    {"format", {.type = EAI_TEXT}},
    {"name", {.type = EAI_NAME}},
    {"method", {.type = EAI_TEXT}},
    {"fingerprint", {.type = EAI_FINGERPRINT}},
    {"sites", {.type = EAI_MAP, .keys = &rule_any_text, .inner = &rule_site}},
    {"labels", {.type = EAI_LIST, .null = true, .least = 1, .inner = &rule_any_text}},
    {"problem_type", {.type = EAI_PROBLEM_TYPE, .null = true}},
    {"source", {.type = EAI_ANY_OBJECT}},
    {"parity", {.type = EAI_RECORD, .null = true, .fields = fields_parity}},
    {"files", {.type = EAI_MAP, .keys = &rule_path, .inner = &rule_file}},
    {0}};
const eai_rule eai_adapter_rule = {.type = EAI_RECORD, .fields = fields_adapter};
