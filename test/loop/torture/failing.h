/* failing.h: an allocator that fails the nth allocation of the thread that asked for it. The linker's --wrap puts it under everything of ours
 * that is linked into the program, and hooks under cJSON; other libraries keep the real one. What was allocated while it was armed and not freed
 * by the end is counted. */
#ifndef TEST_TORTURE_FAILING_H
#define TEST_TORTURE_FAILING_H

#include <stdbool.h>
#include <stddef.h>

void failing_init(void);         /* once, before anything allocates */
/* From here on allocations of this thread are counted from 1 and the nth fails; 0: none does. */
void failing_begin(size_t nth);
bool failing_end(void);          /* disarms; true if the nth was reached */
size_t failing_calls(void);      /* since the last begin */
size_t failing_live(void);       /* blocks allocated while armed, by now not freed; of all threads' frees */
void failing_forget(void);       /* what is live now does not count any more */
void failing_tell(void);         /* prints where the first of the live blocks were allocated: their numbers and sizes */

#endif
