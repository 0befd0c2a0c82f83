#include "cache/mem.h"

#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BUCKETS = 64 }; // a power of two, as every later count

// A key's life: absent, being made (value NULL, one thread owes a value), ready (refs > 0), absent.
struct node {
    struct node *next;
    struct fj_key key;
    void *value;
    uint64_t refs;
};

struct fj_mem {
    fj_mutex mutex;
    fj_cond changed; // some key became ready or absent
    struct node **buckets;
    size_t bucket_count, node_count;
};

// SHA-256 is uniform: its first bytes are the hash.
static struct node **bucket_of(struct node **buckets, size_t count, const struct fj_key *key)
{
    uint64_t hash;
    memcpy(&hash, key->bytes, sizeof(hash));
    return &buckets[hash & (count - 1)];
}

// The link that points to the key's node, or the one at the end of its chain.
static struct node **find(struct fj_mem *mem, const struct fj_key *key)
{
    struct node **link = bucket_of(mem->buckets, mem->bucket_count, key);
    while (*link && memcmp((*link)->key.bytes, key->bytes, sizeof(key->bytes)) != 0)
        link = &(*link)->next;
    return link;
}

// Without memory the chains just get longer.
static void grow(struct fj_mem *mem)
{
    size_t count = mem->bucket_count * 2;
    struct node **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        return;
    for (size_t i = 0; i < mem->bucket_count; i++) {
        for (struct node *node = mem->buckets[i], *next; node; node = next) {
            struct node **link = bucket_of(buckets, count, &node->key);
            next = node->next;
            node->next = *link;
            *link = node;
        }
    }
    free(mem->buckets);
    mem->buckets = buckets;
    mem->bucket_count = count;
}

static struct node *insert(struct fj_mem *mem, const struct fj_key *key)
{
    if (mem->node_count >= mem->bucket_count)
        grow(mem);
    struct node *node = calloc(1, sizeof(*node));
    if (!node)
        return NULL;
    struct node **link = find(mem, key);
    node->key = *key;
    *link = node;
    mem->node_count++;
    return node;
}

static void erase(struct fj_mem *mem, struct node **link)
{
    struct node *node = *link;
    *link = node->next;
    mem->node_count--;
    free(node);
}

struct fj_mem *fj_mem_create(void)
{
    struct fj_mem *mem = calloc(1, sizeof(*mem));
    struct node **buckets = calloc(FIRST_BUCKETS, sizeof(*buckets));
    if (!mem || !buckets) {
        free(mem);
        free(buckets);
        return NULL;
    }
    mem->buckets = buckets;
    mem->bucket_count = FIRST_BUCKETS;
    pthread_mutex_init(&mem->mutex, NULL);
    pthread_cond_init(&mem->changed, NULL);
    return mem;
}

void fj_mem_destroy(struct fj_mem **mem, void (*free_value)(void *user, void *value), void *user)
{
    struct fj_mem *old = *mem;
    if (!old)
        return;
    for (size_t i = 0; i < old->bucket_count; i++) {
        while (old->buckets[i]) {
            if (old->buckets[i]->value && free_value)
                free_value(user, old->buckets[i]->value);
            erase(old, &old->buckets[i]);
        }
    }
    pthread_cond_destroy(&old->changed);
    pthread_mutex_destroy(&old->mutex);
    free(old->buckets);
    free(old);
    *mem = NULL;
}

void *fj_mem_acquire(struct fj_mem *mem, const struct fj_key *key)
{
    void *value = NULL;
    struct node *node;
    pthread_mutex_lock(&mem->mutex);
    // A key under way may be ready, absent or under way again by the time this thread wakes.
    while ((node = *find(mem, key)) && !node->value)
        pthread_cond_wait(&mem->changed, &mem->mutex);
    if (node) {
        node->refs++;
        value = node->value;
    } else {
        insert(mem, key); // without memory nobody waits for this maker; fj_mem_fill tries again
    }
    pthread_mutex_unlock(&mem->mutex);
    return value;
}

void *fj_mem_find(struct fj_mem *mem, const struct fj_key *key)
{
    pthread_mutex_lock(&mem->mutex);
    struct node *node = *find(mem, key);
    void *value = node ? node->value : NULL;
    if (value)
        node->refs++;
    pthread_mutex_unlock(&mem->mutex);
    return value;
}

void *fj_mem_try(struct fj_mem *mem, const struct fj_key *key, bool *ret_busy)
{
    void *value = NULL;
    pthread_mutex_lock(&mem->mutex);
    struct node *node = *find(mem, key);
    *ret_busy = node && !node->value;
    if (!node) {
        insert(mem, key);
    } else if (node->value) {
        node->refs++;
        value = node->value;
    }
    pthread_mutex_unlock(&mem->mutex);
    return value;
}

void fj_mem_visit(struct fj_mem *mem, void (*visit)(void *user, const void *value), void *user)
{
    pthread_mutex_lock(&mem->mutex);
    for (size_t i = 0; i < mem->bucket_count; i++)
        for (const struct node *node = mem->buckets[i]; node; node = node->next)
            if (node->value)
                visit(user, node->value);
    pthread_mutex_unlock(&mem->mutex);
}

bool fj_mem_fill(struct fj_mem *mem, const struct fj_key *key, void *value)
{
    pthread_mutex_lock(&mem->mutex);
    struct node *node = *find(mem, key);
    if (!node)
        node = insert(mem, key);
    bool noted = node && !node->value;
    if (noted) {
        node->value = value;
        node->refs = 1;
    }
    pthread_cond_broadcast(&mem->changed);
    pthread_mutex_unlock(&mem->mutex);
    return noted;
}

void fj_mem_fail(struct fj_mem *mem, const struct fj_key *key)
{
    pthread_mutex_lock(&mem->mutex);
    struct node **link = find(mem, key);
    if (*link && !(*link)->value)
        erase(mem, link);
    pthread_cond_broadcast(&mem->changed);
    pthread_mutex_unlock(&mem->mutex);
}

void *fj_mem_release(struct fj_mem *mem, const struct fj_key *key)
{
    void *value = NULL;
    pthread_mutex_lock(&mem->mutex);
    struct node **link = find(mem, key);
    if (*link && (*link)->value && --(*link)->refs == 0) {
        value = (*link)->value;
        erase(mem, link);
    }
    pthread_mutex_unlock(&mem->mutex);
    return value;
}
