/* cpu.c: compiled for the baseline, so that it runs anywhere. An x86 instruction set counts as supported when CPUID
 * names every extension its kernels are compiled with, and XGETBV says that the operating system saves its registers.
 */
#include "cpu.h"

#include "atomic.h"

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)

#if defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned regs[4]) {
    int values[4];
    __cpuid(values, 0);
    int known = (unsigned)values[0] >= leaf;
    __cpuidex(values, (int)leaf, 0);
    for (int i = 0; i < 4; i++) regs[i] = known ? (unsigned)values[i] : 0;
}
static unsigned xcr0(void) { return (unsigned)_xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned regs[4]) {
    if (!__get_cpuid_count(leaf, 0, &regs[0], &regs[1], &regs[2], &regs[3])) regs[0] = regs[1] = regs[2] = regs[3] = 0;
}
static unsigned xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* the intrinsic needs -mxsave */
    return low;
}
#endif

enum { EBX = 1, ECX = 2 };
#define BIT(n) (1u << (n))
#define FMA BIT(12) /* leaf 1, ecx */
#define OSXSAVE BIT(27)
#define AVX BIT(28)
#define F16C BIT(29)
#define AVX2 BIT(5) /* leaf 7, ebx */
#define AVX512F BIT(16)
#define AVX512DQ BIT(17)
#define AVX512BW BIT(30)
#define AVX512VL BIT(31)
#define YMM_STATE (BIT(1) | BIT(2))                      /* xcr0: xmm and the upper halves of ymm */
#define ZMM_STATE (YMM_STATE | BIT(5) | BIT(6) | BIT(7)) /* and masks, upper halves of zmm, zmm16-31 */

static int has(unsigned leaf1_ecx, unsigned leaf7_ebx, unsigned state) {
    unsigned regs[4];
    cpuid(1, regs);
    if ((regs[ECX] & (leaf1_ecx | OSXSAVE)) != (leaf1_ecx | OSXSAVE) || (xcr0() & state) != state) return 0;
    cpuid(7, regs);
    return (regs[EBX] & leaf7_ebx) == leaf7_ebx;
}

int fastln_cpu_has_avx2(void) { return has(AVX | FMA | F16C, AVX2, YMM_STATE); }
int fastln_cpu_has_avx512(void) {
    return has(AVX | FMA | F16C, AVX2 | AVX512F | AVX512BW | AVX512DQ | AVX512VL, ZMM_STATE);
}

/* Asked once: a virtual machine takes a while to answer. */
int fastln_cpu_is_amd(void) {
    static fastln_atomic answer; /* 0: not asked yet; 1: no; 2: yes */
    if (!fastln_load(&answer)) {
        unsigned regs[4];
        cpuid(0, regs);
        fastln_store(&answer, regs[EBX] == 0x68747541 /* "Auth" of "AuthenticAMD" */ ? 2 : 1);
    }
    return fastln_load(&answer) == 2;
}

#else
int fastln_cpu_has_avx2(void) { return 0; }
int fastln_cpu_has_avx512(void) { return 0; }
int fastln_cpu_is_amd(void) { return 0; }
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
int fastln_cpu_has_neon(void) { return 1; } /* a part of the architecture, float64 lanes and fma included */
#else
int fastln_cpu_has_neon(void) { return 0; }
#endif

int fastln_cpu_has_scalar(void) { return 1; }
