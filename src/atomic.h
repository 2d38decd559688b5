/* atomic.h: the few shared words that change after import. C11 atomics, or MSVC's intrinsics where those are missing;
 * sequentially consistent, because none of them is worth a weaker order. */
#ifndef FASTLN_ATOMIC_H
#define FASTLN_ATOMIC_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
typedef volatile __int64 fastln_atomic;
static inline intptr_t fastln_load(fastln_atomic *word) { return (intptr_t)_InterlockedOr64(word, 0); }
static inline void fastln_store(fastln_atomic *word, intptr_t value) { _InterlockedExchange64(word, value); }
static inline intptr_t fastln_exchange(fastln_atomic *word, intptr_t value) {
    return (intptr_t)_InterlockedExchange64(word, value);
}
static inline intptr_t fastln_fetch_add(fastln_atomic *word, intptr_t value) {
    return (intptr_t)_InterlockedExchangeAdd64(word, value);
}
#else
#include <stdatomic.h>
typedef atomic_intptr_t fastln_atomic;
static inline intptr_t fastln_load(fastln_atomic *word) { return atomic_load(word); }
static inline void fastln_store(fastln_atomic *word, intptr_t value) { atomic_store(word, value); }
static inline intptr_t fastln_exchange(fastln_atomic *word, intptr_t value) { return atomic_exchange(word, value); }
static inline intptr_t fastln_fetch_add(fastln_atomic *word, intptr_t value) { return atomic_fetch_add(word, value); }
#endif

#endif
