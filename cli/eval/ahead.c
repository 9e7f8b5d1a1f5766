/* ahead.c - items that are made in threads, ahead of who takes them in order: pictures of the trials that come next. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/eval/protocol.h"

enum { MOST_THREADS = 16, EACH = 4 };

struct eval_ahead {
    eval_make_fn make;
    const void *ctx;
    size_t size;
    int count, places; /* items; those that may lie here */
    char *item;        /* item i in place i % places */
    ts_error *why;
    bool *ready;
    pthread_mutex_t lock;
    pthread_cond_t made, taken;
    int next, first; /* the item to be begun next; those before `first` are taken */
    bool stop;
    pthread_t thread[MOST_THREADS];
    int threads;
};

static char *place_of(const eval_ahead *a, int i)
{
    return a->item + (size_t)(i % a->places) * a->size;
}

static void *work(void *ctx)
{
    eval_ahead *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        while (!a->stop && a->next < a->count && a->next >= a->first + a->places) pthread_cond_wait(&a->taken, &a->lock);
        if (a->stop || a->next >= a->count) break;
        const int i = a->next++, place = i % a->places;
        memset(place_of(a, i), 0, a->size);
        a->why[place] = (ts_error){0};
        pthread_mutex_unlock(&a->lock);
        a->make(a->ctx, i, place_of(a, i), &a->why[place]);
        pthread_mutex_lock(&a->lock);
        a->ready[place] = true;
        pthread_cond_broadcast(&a->made);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

eval_ahead *eval_ahead_new(eval_make_fn make, const void *ctx, size_t size, int count, int threads, ts_error *err)
{
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    eval_ahead *a = calloc(1, sizeof *a);
    if (!a) {
        ts_fail(err, TS_ERR_MEMORY, "out of memory");
        return NULL;
    }
    a->make = make;
    a->ctx = ctx;
    a->size = size;
    a->count = count;
    a->places = threads * EACH;
    a->item = calloc((size_t)a->places, size);
    a->why = calloc((size_t)a->places, sizeof *a->why);
    a->ready = calloc((size_t)a->places, sizeof *a->ready);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->made, NULL);
    pthread_cond_init(&a->taken, NULL);
    const bool room = a->item && a->why && a->ready;
    while (room && a->threads < threads && pthread_create(&a->thread[a->threads], NULL, work, a) == 0) a->threads++;
    if (a->threads > 0) return a;
    ts_fail(err, TS_ERR_MEMORY, room ? "no thread can be started to read pictures" : "out of memory");
    eval_ahead_free(a, NULL);
    return NULL;
}

void eval_ahead_take(eval_ahead *a, void *out, ts_error *why)
{
    pthread_mutex_lock(&a->lock);
    const int i = a->first, place = i % a->places;
    while (!a->ready[place]) pthread_cond_wait(&a->made, &a->lock);
    memcpy(out, place_of(a, i), a->size);
    *why = a->why[place];
    a->ready[place] = false;
    a->first++;
    pthread_cond_broadcast(&a->taken);
    pthread_mutex_unlock(&a->lock);
}

void eval_ahead_free(eval_ahead *a, void (*clear)(const void *ctx, void *item))
{
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_broadcast(&a->taken);
    pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < a->threads; i++) pthread_join(a->thread[i], NULL);
    for (int i = a->first; clear && i < a->next; i++) clear(a->ctx, place_of(a, i));
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->made);
    pthread_cond_destroy(&a->taken);
    free(a->item);
    free(a->why);
    free(a->ready);
    free(a);
}
