/* A library that uses OpenMP and has never heard of fastln. Returns the sum of 0..n-1, computed by two threads. */
long other_sum(long n) {
    long sum = 0;
#pragma omp parallel for num_threads(2) reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += i;
    return sum;
}
