/* Canonical decomposition and composition (Unicode Standard Annex 15): NFD and NFC. */
#ifndef EAI_CANONICAL_H
#define EAI_CANONICAL_H

#include "growing.h"

/* Appends the NFC or NFD of `text`, valid UTF-8, to `out`, or leaves `changed` false where `text` is that already.
 * Returns false where memory runs out. */
bool eai_canonical(bool composes, const eai_string *text, eai_string *out, eai_words *points, bool *changed);

#endif
