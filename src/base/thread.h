// Threads, locks and clocks. Locks and threads are pthreads under their own names, which other
// systems offer too; the rest of the library includes this header, never a system's.
#ifndef FJ_BASE_THREAD_H
#define FJ_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

typedef pthread_mutex_t fj_mutex;
typedef pthread_cond_t fj_cond;
#define FJ_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER

int fj_cpu_count(void); // cores this process may use; at least 1

// Calls `work(user, i)` for i in [0, count), on up to `threads` threads (0: fj_cpu_count()), the
// caller's included. Indices are handed out in order. Returns when all are done.
void fj_parallel_for(int threads, int64_t count, void (*work)(void *user, int64_t i), void *user);

// Runs `fn(user)` on a thread with a stack of `stack_bytes` and waits for it.
int fj_run_with_stack(size_t stack_bytes, void (*fn)(void *user), void *user);

// Waits for a signal of `cond`, at most `us`. Spurious wake-ups happen.
void fj_cond_wait_us(fj_cond *cond, fj_mutex *mutex, double us);
void fj_sleep_us(double us);

double fj_now_us(void);  // monotonic
int64_t fj_time_s(void); // wall clock, seconds since the epoch

#endif
