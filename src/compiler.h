/* compiler.h: how compilers are told what C has no words for. */
#ifndef FASTLN_COMPILER_H
#define FASTLN_COMPILER_H

#include <stdint.h>

/* Arguments that are constants only once everything is inlined need FORCED_INLINE. */
#if defined(_MSC_VER)
#define FORCED_INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define UNROLL4
#define PREFETCH_AT(address) ((void)(address))
#else
#define FORCED_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL4 _Pragma("GCC unroll 4")
#define PREFETCH_AT(address) __builtin_prefetch((const void *)(address))
#endif

/* Fetches the cache line so many bytes after p, where there need be no memory: an address, not a pointer. A macro,
 * because GCC drops calls of a function that does nothing else. */
#define PREFETCH(p, bytes) PREFETCH_AT((uintptr_t)(p) + (uintptr_t)(bytes))

#endif
