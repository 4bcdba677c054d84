#include "record.h"

#include "consistency.h"
#include "manifest.h"
#include "manifest_schema.h"
#include "schema.h"

#include <string.h>

static void record_problems(const eai_record *record, eai_problems *problems)
{
    bool none = strcmp(record->name, "none") == 0, method = strcmp(record->method, "none") == 0;
    if (eai_is_listed(record->files, record->file_count, "adapter.json"))
        eai_problem(problems, "$.files: lists adapter.json, which can't hold its own sha256");
    if (none != method)
        eai_problem(problems, "$.method: expected 'none' for the adapter 'none' alone, got '%s' for '%s'",
                    record->method, record->name);
    if (none && method && record->sites->count)
        eai_problem(problems, "$.sites: expected {} for the adapter 'none', which is the base itself");
    if (record->sites->count && !eai_is_listed(record->files, record->file_count, EAI_WEIGHTS_FILE))
        eai_problem(problems, "$.sites: %s is not in $.files", EAI_WEIGHTS_FILE);
    const eai_value *cache = eai_json_get(record->sites, EAI_CACHE);
    if (cache && (cache->count != 1 || !eai_json_get(cache->first, "rank")))
        eai_problem(problems,
                    "$.sites." EAI_CACHE ": expected one method with a rank, how many tokens the cache begins with");
}

ea_status eai_record_parse(eai_arena *arena, const char *path, const char *bytes, size_t length, eai_record *record,
                           ea_error *error)
{
    static const char *const formats[] = {"1.0", NULL};
    *record = (eai_record){0};
    ea_status status = eai_read_schema(path, bytes, length, EAI_ADAPTER_RULE, formats, &record->document, error);
    if (status != EA_OK)
        return status;
    const eai_value *root = eai_json_root(record->document), *labels = eai_json_get(root, "labels");
    const eai_value *problem_type = eai_json_get(root, "problem_type"), *files = eai_json_get(root, "files");
    record->name = eai_json_get(root, "name")->text;
    record->method = eai_json_get(root, "method")->text;
    record->fingerprint = eai_json_get(root, "fingerprint")->text;
    record->problem_type = problem_type->kind == EAI_STRING ? problem_type->text : NULL;
    record->sites = eai_json_get(root, "sites");
    record->label_count = labels->count;
    record->file_count = files->count;
    record->files = eai_listed_files(arena, files);
    record->labels = labels->kind == EAI_ARRAY ? eai_listed_texts(arena, labels) : NULL;
    if (!record->files || (labels->kind == EAI_ARRAY && !record->labels))
        return eai_no_memory(error);
    eai_problems problems = {0};
    record_problems(record, &problems);
    return eai_refuse(error, EA_BUNDLE_ERROR, &problems, eai_copy_again, "%.300s breaks the bundle format:", path);
}

ea_status eai_record_open(eai_arena *arena, const char *folder, eai_record *record, ea_error *error)
{
    eai_arena own = {0};
    eai_bytes bytes;
    *record = (eai_record){0};
    ea_status status = eai_read_document(&own, folder, "adapter.json", &bytes, error);
    char *path = status == EA_OK ? eai_join(&own, folder, "adapter.json") : NULL;
    if (status == EA_OK)
        status = path ? eai_record_parse(arena, path, bytes.data, bytes.length, record, error) : eai_no_memory(error);
    eai_free_all(&own);
    return status;
}

int64_t eai_record_rank(const eai_record *record, const char *site, const char *method)
{
    const eai_value *methods = eai_json_get(record->sites, site);
    const eai_value *facts = methods ? eai_json_get(methods, method) : NULL;
    const eai_value *rank = facts ? eai_json_get(facts, "rank") : NULL;
    return rank ? rank->integer : 0;
}

bool eai_record_shrink(eai_arena *arena, eai_record *record)
{
    eai_record kept = {.labels = record->labels, .label_count = record->label_count};
    for (size_t index = 0; index < kept.label_count; index++)
        if (!(kept.labels[index] = eai_copy_text(arena, kept.labels[index])))
            return false;
    if (record->problem_type && !(kept.problem_type = eai_copy_text(arena, record->problem_type)))
        return false;
    eai_record_close(record);
    *record = kept;
    return true;
}

void eai_record_close(eai_record *record)
{
    eai_json_free(record->document);
    *record = (eai_record){0};
}
