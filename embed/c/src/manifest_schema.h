/* The tables of rules for edgeadapt.json and adapter.json; docs/bundle-format.md says the same in words. */
#ifndef EAI_MANIFEST_SCHEMA_H
#define EAI_MANIFEST_SCHEMA_H

#include "schema.h"

extern const eai_rule eai_manifest_rule, eai_adapter_rule;

#endif
