/* Tells whether an adapter's arrays fit the slots of a model: everything that is wrong, in one message. */
#ifndef EAI_FIT_H
#define EAI_FIT_H

#include "adapter.h"

/* Refuses an adapter that does not fit. `filling` has the arrays for all slots, the neutrals that it leaves included;
 * NULL is for the base, whose arrays are the stored neutrals alone. */
ea_status eai_check_fit(const char *name, const eai_record *record, const eai_weights *weights,
                        const eai_cell *const *filling, const eai_manifest *manifest, ea_error *error);

#endif
