/* Prints what parallel.c finds in the /proc and /sys below the current directory: the processors that the quota comes
 * to (0: no quota), and whether the process was forked and not executed. */
#define FASTLN_ROOT "."
#include "parallel.c"

int main(void) {
    int n = quota();
    printf("%d %d\n", n == INT_MAX ? 0 : n, was_forked());
    return 0;
}
