/* compiler.h: how compilers are told what C has no words for. */
#ifndef FASTLN_COMPILER_H
#define FASTLN_COMPILER_H

/* Arguments that are constants only once everything is inlined need FORCED_INLINE. */
#if defined(_MSC_VER)
#define FORCED_INLINE static __forceinline
#define NOINLINE __declspec(noinline)
#define UNROLL4
#define PREFETCH(p) ((void)(p))
#else
#define FORCED_INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL4 _Pragma("GCC unroll 4")
#define PREFETCH(p) __builtin_prefetch(p)
#endif

#endif
